"""The params of one plug-in, checked: an image set's, a model's, the options of any other."""

from typing import Any

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.params import Section, validate
from pipeline.prepare.facts import published_facts

Values = dict[str, Any]


def open_params(spec: Values, where: str) -> tuple[Any, Section]:
    """The source module of a set of prepare.sets, and the set's checked params.

    Raises:
        UserError: no such source, a bad key, or a split that a published set does not have.
    """
    module = registry.load("pipeline.datasets", str(spec.get("source")), f"{where}.source")
    params = validate(spec, module.Params, where)
    facts = published_facts(module)
    if facts is not None:
        from pipeline.prepare.catalogue import split_of

        try:
            split_of(facts, params)
        except UserError as error:
            raise UserError(f"{where}.split: {error}") from None
    return module, params


def model_options(source: str, options: Values, where: str) -> Section:
    """The checked options of an entry of section models, which stands at `where`.

    Raises:
        UserError: no such source, or a bad key.
    """
    module = registry.load("pipeline.model_sources", source, f"{where}.source")
    return validate(options, module.Params, f"{where}.options")


def plugin_options(package: str, name: str, options: Any, where: str) -> Section:
    """The checked options of plug-in `name`, which stand under `where`."""
    module = registry.load(package, name, where)
    return validate(options, module.Params, f"{where}.{name}")

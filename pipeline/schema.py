"""All of params.yaml at once: every section, every plug-in's keys, every name that must exist.

The stages read their own section only, when their turn comes; `saft check`, `saft use` and the
tests ask here before anything runs. Nothing is computed and no file but the prompt sets is looked
for.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline import prompts, registry
from pipeline.base_model import BaseModelParams
from pipeline.checks import ChecksParams
from pipeline.describe import DescribeParams
from pipeline.embed import DESCRIPTIONS, SAME, TEMPLATE, EmbedParams
from pipeline.errors import UserError
from pipeline.evaluate import EvaluateParams
from pipeline.exemplars import NO_EXEMPLARS, ExemplarParams
from pipeline.filter import FilterParams
from pipeline.params import PARAMS_FILE, Section, validate
from pipeline.prepare import PrepareParams
from pipeline.raw import DataParams
from pipeline.recipe import FinetuneParams, resolve
from pipeline.report_inputs import ReportParams

SECTIONS: dict[str, type[Section]] = {
    "data": DataParams,
    "prepare": PrepareParams,
    "base_model": BaseModelParams,
    "describe": DescribeParams,
    "filter": FilterParams,
    "embed": EmbedParams,
    "finetune": FinetuneParams,
    "evaluate": EvaluateParams,
    "report": ReportParams,
}
# section -> the package of its plug-ins and the key that chooses among them
CHOICES = {
    "base_model": ("pipeline.base_models", "source"),
    "describe": ("pipeline.descriptions", "backend"),
    "finetune": ("pipeline.methods", "method"),
    "evaluate": ("pipeline.attacks", "attacks"),
}
Values = dict[str, Any]


def check_params(values: Values, file: Path = PARAMS_FILE) -> list[str]:
    """Everything that is wrong with a params file, each problem one line that names file and key.

    Args:
        values: what the file holds, see `pipeline.params.read_params`.
        file: for messages.
    """
    found: list[str] = []
    known = {"exemplars", *SECTIONS}
    found += [f"{file}: missing section '{name}'" for name in sorted(known - set(values))]
    found += [f"{file}: unknown section '{name}'" for name in sorted(set(values) - known)]
    sound = {
        name
        for name, schema in SECTIONS.items()
        if name in values and _try(found, validate, values[name], schema, f"{file}: {name}")
    }
    _sets(values, sound, file, found)
    _exemplars(values, file, found)
    for section in CHOICES:
        if section in sound:
            _options(values[section], section, file, found)
    if "evaluate" in sound:
        where = f"{file}: evaluate.checks"
        if not _try(found, validate, values["evaluate"]["checks"], ChecksParams, where):
            sound.discard("evaluate")
    if not found:
        _recipe(values, file, found)
    found += [f"{file}: {text}" for text in _references(values, sound)]
    return found


def _try(found: list[str], check: Callable[..., object], *arguments: Any) -> bool:
    """Whether `check(*arguments)` raises nothing; its UserError joins `found`."""
    try:
        check(*arguments)
    except UserError as error:
        found.append(str(error))
        return False
    return True


def _sets(values: Values, sound: set[str], file: Path, found: list[str]) -> None:
    if "prepare" not in sound:
        return
    for name, spec in values["prepare"]["sets"].items():
        _try(found, open_params, spec, f"{file}: prepare.sets.{name}")


def open_params(spec: Values, where: str) -> tuple[Any, Section]:
    """The source module of an entry of prepare.sets, and the entry's checked params.

    Raises:
        UserError: no such source, a bad key, or a split that a published set does not have.
    """
    module = registry.load("pipeline.datasets", str(spec.get("source")), f"{where}.source")
    params = validate(spec, module.Params, where)
    if hasattr(module, "FACTS"):
        from pipeline.datasets._catalogue import split_of

        try:
            split_of(module.FACTS, params)
        except UserError as error:
            raise UserError(f"{where}.split: {error}") from None
    return module, params


def _exemplars(values: Values, file: Path, found: list[str]) -> None:
    entries = values.get("exemplars", {})
    if not isinstance(entries, dict):
        found.append(f"{file}: exemplars: expected a section with keys, found {entries!r}")
        return
    for name, spec in entries.items():
        _try(found, validate, spec, ExemplarParams, f"{file}: exemplars.{name}")
    if NO_EXEMPLARS in entries:
        found.append(f"{file}: exemplars.{NO_EXEMPLARS}: this name stands for none; choose another")


def _options(section: Values, name: str, file: Path, found: list[str]) -> None:
    """The chosen plug-ins exist and have options; the options of all plug-ins are sound."""
    package, key = CHOICES[name]
    chosen, where = section[key], f"{file}: {name}.options"
    for plugin in chosen if isinstance(chosen, list) else [chosen]:
        exists = _try(found, registry.check, package, plugin, f"{file}: {name}.{key}")
        if exists and plugin not in section["options"]:
            found.append(f"{where} has no '{plugin}', which {name}.{key} names")
    for plugin, options in section["options"].items():
        _try(found, plugin_options, package, plugin, options, where)


def plugin_options(package: str, name: str, options: Any, where: str) -> Section:
    """The checked options of plug-in `name`, which stand under `where`."""
    module = registry.load(package, name, where)
    return validate(options, module.Params, f"{where}.{name}")


def _recipe(values: Values, file: Path, found: list[str]) -> None:
    params = validate(values["finetune"], FinetuneParams, str(file))
    method = registry.load("pipeline.methods", params.method, str(file))
    options = validate(params.options[params.method], method.Params, str(file))
    _try(found, resolve, params, method.PUBLISHED, options)


def _references(values: Values, sound: set[str]) -> Iterator[str]:
    """Names that nothing bears."""
    if "prepare" in sound:
        known = list(values["prepare"]["sets"])
        for key, name in named_sets(values, sound):
            if name not in known:
                yield f"{key}: prepare.sets has no set '{name}', only {', '.join(known)}"
    if {"embed", "evaluate"} <= sound:
        yield from _text_sets(values["embed"]["texts"], values["evaluate"])
    if "describe" in sound:
        yield from _described(values)


def named_sets(values: Values, sound: set[str]) -> Iterator[tuple[str, str]]:
    """(key, image set) of every place where one of the sections `sound` names an image set."""
    for section in ("base_model", "describe", "finetune"):
        if section in sound:
            yield f"{section}.dataset", values[section]["dataset"]
    if "evaluate" in sound:
        for name in values["evaluate"]["datasets"]:
            yield "evaluate.datasets", name
        for name in values["evaluate"]["checks"]["datasets"]:
            yield "evaluate.checks.datasets", name


def _text_sets(texts: Values, evaluate: Values) -> Iterator[str]:
    known = {*texts, DESCRIPTIONS}
    named = [("evaluate.texts", name) for name in evaluate["texts"]]
    named += [("evaluate.checks.texts", evaluate["checks"]["texts"])]
    if evaluate["attacker"] != SAME:
        named += [("evaluate.attacker", evaluate["attacker"])]
    for key, name in named:
        if name not in known:
            yield f"{key}: '{name}' is not a text set; embed.texts has {', '.join(sorted(known))}"
    if TEMPLATE not in texts:
        yield f"embed.texts has no '{TEMPLATE}', which methods without descriptions train on"


def _described(values: Values) -> Iterator[str]:
    describe, entries = values["describe"], values.get("exemplars")
    exemplars = [NO_EXEMPLARS, *(entries if isinstance(entries, dict) else ())]
    if describe["exemplars"] not in exemplars:
        yield f"describe.exemplars: '{describe['exemplars']}' is not one of {', '.join(exemplars)}"
    there = sorted(path.stem for path in prompts.FOLDER.glob("*.yaml"))
    if describe["prompts"] not in there:
        yield (
            f"describe.prompts: {prompts.FOLDER} has no '{describe['prompts']}', "
            f"only {', '.join(there)}"
        )

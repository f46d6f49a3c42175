"""Plug-ins that params.yaml names, with their keys: `<section>.options.<name>`."""

from collections.abc import Collection, Sequence
from types import ModuleType
from typing import Any

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section, validate


def load_plugin(
    package: str, section: str, key: str, name: str, options: dict[str, dict[str, Any]]
) -> tuple[ModuleType, Section]:
    """Import plug-in `name` of `package` and check its options.

    Args:
        section, key: the key of params.yaml that holds the name, for messages.

    Raises:
        UserError: no such plug-in, no options for it, or bad options.
    """
    where = f"{PARAMS_FILE}: {section}"
    module = registry.load(package, name, f"{where}.{key}")
    if name not in options:
        raise UserError(f"{where}.options has no '{name}', which {section}.{key} names")
    return module, validate(options[name], module.Params, f"{where}.options.{name}")


def check_method(method: str) -> None:
    """Check that the plug-in which stage `finetune` loads exists. DVC itself would only say that a
    dependency is missing, and only when the stage's turn comes.

    Raises:
        UserError: it does not; the key and those there are are named.
    """
    registry.check("pipeline.methods", method, f"{PARAMS_FILE}: finetune.method")


def check_attacks(attacks: Sequence[str]) -> None:
    """The same of the plug-ins that stage `evaluate` loads, after the training."""
    for attack in attacks:
        registry.check("pipeline.attacks", attack, f"{PARAMS_FILE}: evaluate.attacks")


def check_defined(names: Sequence[str], known: Collection[str], key: str) -> None:
    """Raise UserError unless all `names`, which stand under `key` of params.yaml, are `known`."""
    for name in names:
        if name not in known:
            raise UserError(f"{PARAMS_FILE}: {key}: '{name}' is not one of {', '.join(known)}")

"""Plug-ins that params.yaml names, with their keys: `<section>.options.<name>`."""

from collections.abc import Collection, Sequence
from types import ModuleType
from typing import Any

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section, validate

# key of params.yaml -> the package of the plug-ins that it names
PACKAGES = {
    "prepare.sets": "pipeline.datasets",
    "models": "pipeline.model_sources",
    "describe.backend": "pipeline.backends",
    "finetune.method": "pipeline.methods",
    "evaluate.attacks": "pipeline.attacks",
}


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


def check_plugin(key: str, name: str, below: str = "") -> None:
    """Check that the plug-in `name` exists, which stands under `key`, or `key` and `below`, of
    params.yaml: for example "models" and ".base.source".

    Raises:
        UserError: it does not; the key and those there are are named.
    """
    registry.check(PACKAGES[key], name, f"{PARAMS_FILE}: {key}{below}")


def check_defined(names: Sequence[str], known: Collection[str], key: str) -> None:
    """Raise UserError unless all `names`, which stand under `key` of params.yaml, are `known`."""
    for name in names:
        if name not in known:
            raise UserError(f"{PARAMS_FILE}: {key}: '{name}' is not one of {', '.join(known)}")

"""Plug-ins by file name: `pipeline/<package>/<name>.py` registers itself by existing.

dvc.yaml names the chosen file as a dependency (`pipeline/methods/${finetune.method}.py`),
so that adding a method, attack, data set or description backend re-runs nothing.
"""

import importlib
import pkgutil
from importlib.util import find_spec
from types import ModuleType

from pipeline.common.errors import UserError


def names(package: str) -> list[str]:
    """Names of the plug-ins of `package` (e.g. "pipeline.attacks"), sorted."""
    spec = find_spec(package)  # without running it: some packages import torch
    path = spec.submodule_search_locations if spec else None
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_"))


def check(package: str, name: str, where: str) -> None:
    """Raise UserError unless there is a plug-in `name`; `where` (e.g. "params.yaml:
    finetune.method") is named with the plug-ins there are."""
    if name not in names(package):
        raise UserError(f"{where}: '{name}' is not one of {', '.join(names(package))}")


def load(package: str, name: str, where: str) -> ModuleType:
    """Import plug-in `name` of `package`.

    Raises:
        UserError: see `check`.
    """
    check(package, name, where)
    return importlib.import_module(f"{package}.{name}")

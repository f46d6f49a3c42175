"""Plug-ins by file name: `pipeline/<package>/<name>.py` registers itself by existing.

dvc.yaml names the chosen file as a dependency (`pipeline/methods/${finetune.method}.py`),
so that adding a method, attack, data set or description backend re-runs nothing.
"""

import importlib
import pkgutil
from types import ModuleType

from pipeline.errors import UserError


def names(package: str) -> list[str]:
    """Names of the plug-ins of `package` (e.g. "pipeline.attacks"), sorted."""
    path = importlib.import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_"))


def load(package: str, name: str, where: str) -> ModuleType:
    """Import plug-in `name` of `package`.

    Raises:
        UserError: no such plug-in; `where` (e.g. "params.yaml: finetune.method") is named
            with the plug-ins there are.
    """
    if name not in names(package):
        raise UserError(f"{where}: '{name}' is not one of {', '.join(names(package))}")
    return importlib.import_module(f"{package}.{name}")

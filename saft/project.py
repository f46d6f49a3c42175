"""The folder that a `saft` command works in: that of params.yaml and profiles/.

Commands that take no paths work from any folder below it; the others say where they belong.
"""

import contextlib
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from pipeline.common.params import PARAMS_FILE

P = ParamSpec("P")
PIPELINE, PROFILES = Path("dvc.yaml"), Path("profiles")


def root_above() -> Path | None:
    """The project that the current folder is a part of; None where it is its root, or in none."""
    current = Path.cwd()
    if _has_parameters(current):
        return None
    return next(
        (f for f in current.parents if (f / PIPELINE).is_file() and _has_parameters(f)), None
    )


def _has_parameters(folder: Path) -> bool:
    return (folder / PARAMS_FILE).is_file() or (folder / PROFILES).is_dir()


def in_project(main: Callable[P, None]) -> Callable[P, None]:
    """A decorator: below a project the command runs in the project's folder, and says so."""

    @wraps(main)  # typer reads the arguments of `main` from it
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        root = root_above()
        if root is None:
            return main(*args, **kwargs)
        print(f"saft: in {root}", file=sys.stderr)
        with contextlib.chdir(root):
            return main(*args, **kwargs)

    return run


def where_to_run() -> str:
    """What to add to an error's line in a folder below a project; "" anywhere else."""
    root = root_above()
    return f"; this folder is below the project, run it in {root}" if root else ""

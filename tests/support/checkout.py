"""Notes which files of this checkout a test opens that are the user's, not the project's."""

import os
import sys
from typing import Any

from tests.support.project import ROOT

OUTPUTS = (
    "images", "classes", "evaluated_classes", "checked_classes", "inputs/models/pretrain",
    "models", "about", "descriptions", "filtered",
    "texts", "embeddings", "training_embeddings", "evaluation", "checks", "raw",
)  # fmt: skip
USERS = (
    *(
        str(ROOT / name)
        for name in ("params.yaml", "reports/metrics.json", "reports/headline.json")
    ),
    *(str(ROOT / name) for name in ("dvc.lock", "stages/dvc.lock")),
    *(f"{ROOT / folder}{os.sep}" for folder in (".scratch", ".dvc/cache", "reports/comparison")),
    *(f"{ROOT / 'data' / folder}{os.sep}" for folder in OUTPUTS),
)
opened: list[str] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not isinstance(arguments[0], str | os.PathLike):
        return
    try:
        path = os.path.abspath(os.fspath(arguments[0]))
    except OSError:  # the current folder is gone
        return
    if str(path).startswith(USERS):
        opened.append(str(path))


def watch() -> None:
    """From now on, `opened` grows by every such file that this process opens."""
    sys.addaudithook(_note)

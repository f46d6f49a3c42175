"""The folder that a command is about to make, looked at before the work begins."""

import os
from pathlib import Path

from pipeline.common.errors import UserError


def check_free(folder: Path, cure: str = "name another with --out") -> None:
    """Raise UserError, `cure` last, unless the folder is absent or empty and can be made there."""
    try:
        free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; {cure}") from None
    if not free:
        raise UserError(f"{folder}: exists and is not an empty folder; {cure}")
    check_parent(folder, cure)


def check_parent(path: Path, cure: str) -> None:
    """Raise UserError, `cure` last, unless something can be written at `path`: the nearest of the
    folders around it that is there is a folder, and may be written to."""
    try:
        nearest = next((f for f in path.parents if os.path.lexists(f)), Path())
        if not nearest.is_dir():
            raise UserError(f"{path}: {nearest} is not a folder; {cure}")
        path.exists()  # a name that is too long
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {cure}") from None
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{path}: {nearest} may not be written to; {cure}")

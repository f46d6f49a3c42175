"""What a file system that is full, read-only or over its quota is called in messages."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TARGETS: dict[Path, Path] = {}  # partial -> what it becomes, of all that is being written
NO_SPACE = 2**20  # bytes; with less free, a library's failed write is one of a full disk


@contextmanager
def naming_target(path: Path, partial: Path) -> Iterator[None]:
    """Errors in the block name `path`, not `partial`, to which it writes.

    Raises:
        UserError: a write failed and the file system is full, whatever the library that wrote
            made of it (torch and safetensors raise errors without a number).
    """
    _TARGETS[partial] = path
    try:
        yield
    except UserError as error:
        line = str(error).replace(str(partial), str(path)).replace(partial.name, path.name)
        if line == str(error):
            raise
        raise UserError(line) from error.__cause__
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in FULL or (number is None and free_bytes(partial.parent) < NO_SPACE):
            raise UserError(full(path, number)) from error
        if isinstance(error, OSError) and str(error.filename).startswith(str(partial)):
            error.filename = str(_target(Path(error.filename)))
        raise
    finally:
        del _TARGETS[partial]


def _target(path: Path) -> Path:
    """The path that `path`, in what is being written, becomes."""
    for partial, target in reversed(list(_TARGETS.items())):  # a file before the folder around it
        if path.is_relative_to(partial):
            path = target / path.relative_to(partial)
    return path


@contextmanager
def numbers_from_words(path: Path) -> Iterator[None]:
    """Errors of the file system that safetensors tells in words alone, "... (os error 28)", become
    OSErrors of `path`."""
    try:
        yield
    except Exception as error:
        match = re.search(r"\(os error (\d+)\)", str(error))
        if match is None:
            raise
        raise OSError(int(match[1]), os.strerror(int(match[1])), str(path)) from error


def full(path: Path, number: int | None = None) -> str:
    """That `path` could not be written, on which file system, and what it has; one line."""
    usage, reason = shutil.disk_usage(_existing(path)), os.strerror(number or errno.ENOSPC)
    free = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free on {mount_point(path)}"
    too_large = "raise `ulimit -f`, or use a file system for files of that size,"
    cure = too_large if number == errno.EFBIG else "make room there"
    return f"{_target(path)}: {reason}: {free}; {cure} and run again"


def free_bytes(path: Path) -> int:
    """What is free on the file system of `path`, or of the nearest folder above that exists."""
    return shutil.disk_usage(_existing(path)).free


def mount_point(path: Path) -> Path:
    """Where the file system of `path` is mounted."""
    path = _existing(path).resolve()
    while not path.is_mount():
        path = path.parent
    return path


def _existing(path: Path) -> Path:
    path = Path(os.path.abspath(path))
    while not path.exists():
        path = path.parent
    return path

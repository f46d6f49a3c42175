"""What a file system that is full, read-only or over its quota is called in messages."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_SPACE = 2**20  # bytes; with less free, a library's failed write is one of a full disk


@contextmanager
def naming_target(path: Path, partial: Path) -> Iterator[None]:
    """Errors of the file system in the block name `path`, not `partial`, to which it writes.

    Raises:
        UserError: a write failed and the file system is full, whatever the library that wrote
            made of it (torch and safetensors raise errors without a number).
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in FULL or (number is None and free_bytes(partial.parent) < NO_SPACE):
            raise UserError(full(path, number)) from error
        if isinstance(error, OSError) and str(error.filename).startswith(str(partial)):
            error.filename = str(path)
        raise


def full(path: Path, number: int | None = None) -> str:
    """That `path` could not be written, on which file system, and what it has; one line."""
    usage = shutil.disk_usage(_existing(path))
    reason = os.strerror(number or errno.ENOSPC)
    return (
        f"{path}: {reason}: {usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free on "
        f"{mount_point(path)}; make room there and run again"
    )


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

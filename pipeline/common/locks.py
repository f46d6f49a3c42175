"""Locks between processes, also where a file system has none."""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from pipeline.common.errors import UserError

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs.

    A file system that knows no flock has a file in its place, whose existence is the lock; that of
    a process which has ended on this machine is taken over.

    Raises:
        UserError: another process holds it: `busy`, and what to delete where only a file says so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _acquired(path, busy)
    try:
        yield
    finally:
        lock.release()


def _acquired(path: Path, busy: str) -> BaseFileLock:
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(busy) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return _acquired_soft(path.with_suffix(".soft-lock"), busy)
    return lock


def _acquired_soft(path: Path, busy: str) -> BaseFileLock:
    lock = SoftFileLock(path)
    try:
        lock.acquire(timeout=1)  # a second for taking over what a killed process left
    except Timeout:
        minutes = max(0, time.time() - path.stat().st_mtime) / 60 if path.exists() else 0
        raise UserError(
            f"{busy}; this file system has no flock, so {path} says it, for {minutes:.0f} minutes: "
            "delete it if no such process runs on any machine"
        ) from None
    return lock

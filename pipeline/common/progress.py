"""One format for every progress bar: name, share, rate and remaining time, on stderr."""

import sys
from collections.abc import Iterable, Sized
from threading import RLock
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
_silent = False
# tqdm's own lock is one among processes: its semaphore would stay behind when a process is killed
tqdm.set_lock(RLock())


def silence() -> None:
    """No bars from this process: one of several parallel processes shows the bar for all."""
    global _silent
    _silent = True


def track(
    items: Iterable[T], label: str, total: int | None = None, unit: str = "batch"
) -> "tqdm[T]":
    """Iterate over `items` behind a bar, which is redrawn every 15 s where there is no terminal."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    interval = 0.2 if sys.stderr.isatty() else 15
    return tqdm(
        items,
        desc=label,
        total=total,
        unit=unit,
        mininterval=interval,
        dynamic_ncols=True,
        disable=_silent,
    )


def counter(label: str, total: int, unit: str) -> "tqdm[None]":
    """A bar that is advanced by hand, with `update(n)`."""
    return track((), label, total=total, unit=unit)

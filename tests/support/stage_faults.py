"""What a process does to itself before a stage runs in it: it dies at a rename, its disk is full.

Each function is a `prepare` of `tests.support.kills.run_stage`, with functools.partial around it;
nothing of this project is imported here, for the stage imports its own copy.
"""

import fcntl
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def at_renames(act: Callable[[str], int | None]) -> None:
    """Call `act` before and after every rename to a path below the current folder, with a name
    such as "before data/x.parquet" that is the same in every run (process ids become PID). A
    number that it returns before a rename is the error of that rename."""
    root, mine = Path.cwd().resolve(), str(os.getpid())

    def watched(rename: Callable[..., Any]) -> Callable[..., Any]:
        def renamed(source: Any, target: Any, *rest: Any, **named: Any) -> Any:
            path = Path(os.fspath(target)).absolute()
            if not path.is_relative_to(root):
                return rename(source, target, *rest, **named)
            name = re.sub(rf"\b{mine}\b", "PID", str(path.relative_to(root)))
            number = act(f"before {name}")
            if number:
                raise OSError(number, os.strerror(number), source, None, target)
            result = rename(source, target, *rest, **named)
            act(f"after {name}")
            return result

        return renamed

    os.rename, os.replace = watched(os.rename), watched(os.replace)


def record_renames(file: Path) -> None:
    """Write the name of every moment of `at_renames` to `file`, a line each."""
    file.write_text("")

    def note(moment: str) -> None:
        with file.open("a") as stream:
            stream.write(f"{moment}\n")

    at_renames(note)


def die_at(moment: str, count: int, by: signal.Signals) -> None:
    """Send this process a signal at the `count`-th moment of that name, from 0."""
    left = count

    def die(name: str) -> None:
        nonlocal left
        if name == moment:
            if left == 0:
                os.kill(os.getpid(), by)
            left -= 1

    at_renames(die)


def fail_at(moment: str, number: int) -> None:
    """The rename at moments of that name fails with that number."""
    at_renames(lambda name: number if name == moment else None)


def without_flock(number: int) -> None:
    """The file system has no locks: flock fails with that number."""

    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    fcntl.flock = flock


def without_flock_die_at(number: int, moment: str) -> None:
    """As `without_flock`, and SIGKILL at the first moment of that name."""
    without_flock(number)
    die_at(moment, 0, signal.SIGKILL)


def clock_backwards() -> None:
    """Every look at the clock is ten seconds earlier than the last, as the files' times are later
    than all of them."""
    now = time.time()

    def earlier() -> float:
        nonlocal now
        now -= 10
        return now

    time.time = earlier


def strange_environment(values: dict[str, str | None]) -> None:
    """Set variables; None: unset."""
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def raise_in(module: str, name: str, error: BaseException) -> None:
    """The function or method `name` (with dots) of a module raises `error` when it is called."""
    import importlib

    def raising(*_: Any, **__: Any) -> None:
        raise error

    *path, last = name.split(".")
    target: Any = importlib.import_module(module)
    for part in path:
        target = getattr(target, part)
    setattr(target, last, raising)

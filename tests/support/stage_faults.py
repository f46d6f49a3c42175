"""What a process does to itself before a stage runs in it: it dies at a rename, its disk is full.

Each function is a `prepare` of `tests.support.kills.run_stage`, with functools.partial around it;
nothing of this project is imported here, for the stage imports its own copy.
"""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def at_renames(act: Callable[[str], None]) -> None:
    """Call `act` before and after every rename to a path below the current folder, with a name
    such as "before data/x.parquet" that is the same in every run (process ids become PID)."""
    root, mine = Path.cwd().resolve(), str(os.getpid())

    def watched(rename: Callable[..., Any]) -> Callable[..., Any]:
        def renamed(source: Any, target: Any, *rest: Any, **named: Any) -> Any:
            path = Path(os.fspath(target)).absolute()
            if not path.is_relative_to(root):
                return rename(source, target, *rest, **named)
            name = re.sub(rf"\b{mine}\b", "PID", str(path.relative_to(root)))
            act(f"before {name}")
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

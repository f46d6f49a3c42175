"""What every stage entry shares: its time, one-line errors and a non-zero exit.

DVC takes exit status 0 as "the outputs are complete", so an interrupted stage must never
leave with 0.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

from pipeline.common import secrets
from pipeline.common.errors import UserError, one_line
from pipeline.common.interrupts import terminations_as_interrupts
from pipeline.common.storage import FULL, full
from stages import STARTED

P = ParamSpec("P")
INTERRUPTED = 130
TRACEBACK = "SAFT_TRACEBACK"  # environment: show where an error arose, too
# what makes a stage need less memory
SMALLER = {
    "pretrain": "the batch_size of its entry in section pretrain",
    "finetune": "finetune.batch_size",
    "evaluate": "evaluate.batch_size",
    "check": "evaluate.batch_size",
}


def stage(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Wrap a stage's main function; `name` is what the messages start with."""

    def decorate(main: Callable[P, None]) -> Callable[P, None]:
        @wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                with terminations_as_interrupts():
                    main(*args, **kwargs)
            except (KeyboardInterrupt, Exception) as error:
                show_traceback(error)
                _leave(name, *explain(error, name))
            print(f"[{label(name)}] {time.perf_counter() - STARTED:.1f} s", flush=True)

        return run

    return decorate


def explain(error: BaseException, name: str) -> tuple[str, int]:
    """Line and exit status for an error of stage `name`."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing was written", INTERRUPTED
    if isinstance(error, UserError):
        return str(error), 1
    if isinstance(error, OSError) and error.errno is not None:
        return f"{_storage(error)}; nothing was written", 1
    if _out_of_memory(error):
        key = SMALLER.get(name)
        lower = f"; lower {key} in params.yaml: half of it takes about half" if key else ""
        return f"out of memory{lower} (`saft check` estimates it); nothing was written", 1
    return (
        f"{name} met what it does not expect: {type(error).__name__}: {one_line(error)} "
        f"({_innermost(error)}); {TRACEBACK}=1 shows more, for a report of this defect",
        1,
    )


def show_traceback(error: BaseException) -> None:
    """Print the traceback if the environment asks for it."""
    if os.environ.get(TRACEBACK) and not isinstance(error, KeyboardInterrupt):
        text = "".join(traceback.format_exception(error))
        print(secrets.redacted(text), file=sys.stderr, flush=True)


def _storage(error: OSError) -> str:
    if error.errno in FULL:
        return full(Path(error.filename or "."), error.errno)
    return f"{error.filename or 'a file'}: {error.strerror}"


def _innermost(error: BaseException) -> str:
    """The deepest line of this project's code, e.g. "pipeline/clip/model.py line 12"."""
    root = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root)] or frames
    if not ours:
        return "no line is known"
    path = Path(ours[-1].filename)
    shown = path.relative_to(root) if path.is_relative_to(root) else path.name
    return f"{shown} line {ours[-1].lineno}"


def _out_of_memory(error: BaseException) -> bool:
    """Of Python, of torch on CUDA (by name: not every stage loads torch) or on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def label(name: str) -> str:
    """The stage as DVC calls it (with its matrix item), or the plain name by hand."""
    return os.environ.get("DVC_STAGE", name)


def _leave(name: str, message: str, status: int) -> NoReturn:
    print(f"\n[{label(name)}] error: {secrets.shown(message)}", file=sys.stderr, flush=True)
    raise SystemExit(status)

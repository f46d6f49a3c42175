"""What every stage entry shares: its time, one-line errors and a non-zero exit.

DVC takes exit status 0 as "the outputs are complete", so an interrupted stage must never
leave with 0.
"""

import errno
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

from pipeline.common.errors import UserError
from pipeline.common.secrets import shown
from stages import STARTED

P = ParamSpec("P")
INTERRUPTED = 130
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
                main(*args, **kwargs)
            except (KeyboardInterrupt, UserError, OSError, MemoryError, RuntimeError) as error:
                known = explain(error, name)
                if known is None:
                    raise
                _leave(name, *known)
            print(f"[{label(name)}] {time.perf_counter() - STARTED:.1f} s", flush=True)

        return run

    return decorate


def explain(error: BaseException, name: str) -> tuple[str, int] | None:
    """Line and exit status for an error of stage `name` that is no bug of ours; None for a bug."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing was written", INTERRUPTED
    if isinstance(error, UserError):
        return str(error), 1
    full = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
    if isinstance(error, OSError) and error.errno in full:
        return f"{error.filename or 'output'}: {error.strerror}; nothing was written", 1
    if _out_of_memory(error):
        key = SMALLER.get(name)
        lower = f"; lower {key} in params.yaml: half of it takes about half" if key else ""
        return f"out of memory{lower} (`saft check` estimates it); nothing was written", 1
    return None


def _out_of_memory(error: BaseException) -> bool:
    """Of Python, of torch on CUDA (by name: not every stage loads torch) or on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def label(name: str) -> str:
    """The stage as DVC calls it (with its matrix item), or the plain name by hand."""
    return os.environ.get("DVC_STAGE", name)


def _leave(name: str, message: str, status: int) -> NoReturn:
    print(f"\n[{label(name)}] error: {shown(message)}", file=sys.stderr, flush=True)
    raise SystemExit(status)

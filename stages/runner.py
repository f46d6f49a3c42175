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

from pipeline.errors import UserError
from stages import STARTED

P = ParamSpec("P")
INTERRUPTED = 130


def stage(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Wrap a stage's main function; `name` is what the messages start with."""

    def decorate(main: Callable[P, None]) -> Callable[P, None]:
        @wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                main(*args, **kwargs)
            except (KeyboardInterrupt, UserError, OSError) as error:
                known = explain(error)
                if known is None:
                    raise
                _leave(name, *known)
            print(f"[{label(name)}] {time.perf_counter() - STARTED:.1f} s", flush=True)

        return run

    return decorate


def explain(error: BaseException) -> tuple[str, int] | None:
    """The line and the exit status for an error that is no bug of ours; None for a bug."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing was written", INTERRUPTED
    if isinstance(error, UserError):
        return str(error), 1
    full = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
    if isinstance(error, OSError) and error.errno in full:
        return f"{error.filename or 'output'}: {error.strerror}; nothing was written", 1
    return None


def label(name: str) -> str:
    """The stage as DVC calls it (with its matrix item), or the plain name by hand."""
    return os.environ.get("DVC_STAGE", name)


def _leave(name: str, message: str, status: int) -> NoReturn:
    print(f"\n[{label(name)}] error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(status)

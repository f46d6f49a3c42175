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
            except KeyboardInterrupt:
                _leave(name, "interrupted; nothing was written", INTERRUPTED)
            except UserError as error:
                _leave(name, str(error), 1)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                    raise
                _leave(
                    name, f"{error.filename or 'output'}: {error.strerror}; nothing was written", 1
                )
            print(f"[{label(name)}] {time.perf_counter() - STARTED:.1f} s", flush=True)

        return run

    return decorate


def label(name: str) -> str:
    """The stage as DVC calls it (with its matrix item), or the plain name by hand."""
    return os.environ.get("DVC_STAGE", name)


def _leave(name: str, message: str, status: int) -> NoReturn:
    print(f"\n[{label(name)}] error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(status)

"""How commands and stages end that cannot do what they were asked: one line, whatever happened."""

import errno
import os
import re
import sys
import traceback
from pathlib import Path

from pipeline.common import secrets
from pipeline.common.errors import UserError, one_line
from pipeline.common.storage import FULL, full

TRACEBACK = "SAFT_TRACEBACK"  # environment: not empty: print where an error arose, too
# how libraries say that there is no memory, where they raise no MemoryError
NO_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_alloc"
    r"|ALLOC_FAILED|can't start new thread",
    re.IGNORECASE,
)


def explain(error: BaseException, what: str) -> str:
    """One line on any error but an interrupt.

    Args:
        what: the stage or command that met it; named where the error is a defect of this project.
    """
    if isinstance(error, UserError):
        return str(error)
    if out_of_memory(error):
        return "out of memory"
    if isinstance(error, OSError) and error.errno is not None:
        return _storage(error)
    return (
        f"{what} met what it does not expect: {type(error).__name__}: {one_line(error)} "
        f"({_innermost(error)}); {TRACEBACK}=1 shows more, for a report of this defect"
    )


def show_traceback(error: BaseException) -> None:
    """Print the traceback, without secrets, if the environment asks for it."""
    if os.environ.get(TRACEBACK) and not isinstance(error, KeyboardInterrupt):
        text = "".join(traceback.format_exception(error))
        print(secrets.redacted(text), file=sys.stderr, flush=True)


def out_of_memory(error: BaseException) -> bool:
    """Of Python, of torch on CUDA (by name: not every stage loads torch) or on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def _storage(error: OSError) -> str:
    if error.errno in FULL:
        return full(Path(error.filename or "."), error.errno)
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _innermost(error: BaseException) -> str:
    """The deepest line of this project's code, e.g. "pipeline/clip/model.py line 12"."""
    root = Path(__file__).parents[2]
    frames = [(Path(f.filename), f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    ours = [
        (path.relative_to(root), line)
        for path, line in frames
        if path.is_relative_to(root) and "site-packages" not in path.parts
    ]
    for path, line in reversed(ours or frames):
        return f"{path} line {line}"
    return "no line is known"

"""How every `saft` command ends that cannot do what it was asked: one line, status 1."""

import os
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from pipeline.common import secrets
from pipeline.common.errors import UserError, one_line

P = ParamSpec("P")
_OF_TYPER = (typer.BadParameter, typer.Exit, typer.Abort, BrokenPipeError)  # which ends them well
TRACEBACK = "SAFT_TRACEBACK"  # environment variable; 1: tracebacks as Python shows them


def one_line_errors(command: str = "") -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A decorator: an error is printed as "error: <command>: <message>" on stderr, status 1.

    Args:
        command: as typed, "saft check"; not repeated where the message begins with it; empty:
            a UserError's message alone.
    """

    def decorate(main: Callable[P, None]) -> Callable[P, None]:
        @wraps(main)  # typer reads the arguments of `main` from it
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                main(*args, **kwargs)
            except _OF_TYPER:
                raise
            except Exception as error:
                if os.environ.get(TRACEBACK) == "1" and not isinstance(error, UserError):
                    text = "".join(traceback.format_exception(error))
                    print(secrets.redacted(text), file=sys.stderr)
                message = secrets.shown(_line(error, command, _typed(main)))
                print(f"error: {message}", file=sys.stderr)
                raise SystemExit(1) from None

        return guarded

    return decorate


def _typed(main: Callable[P, None]) -> str:
    """The command of a function: "saft prompts write" of `write` in saft/prompts/command.py."""
    words = [word for word in main.__module__.split(".") if word != "command"]
    return " ".join(words if main.__name__ == "main" else [*words, main.__name__])


def _line(error: Exception, command: str, typed: str) -> str:
    if isinstance(error, UserError):
        named = not command or str(error).startswith(command)
        return str(error) if named else f"{command}: {error}"
    where = command or typed
    if isinstance(error, MemoryError):
        return f"{where}: out of memory"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{where}: {error.filename}: {error.strerror}"
    return (
        f"{where}: {type(error).__name__}: {one_line(error)}; this is a bug of this project; "
        f"{TRACEBACK}=1 for more"
    )

"""How every `saft` command ends that cannot do what it was asked: one line, status 1."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from pipeline.common import secrets
from pipeline.common.errors import UserError
from pipeline.common.failures import explain, show_traceback
from pipeline.common.interrupts import terminations_as_interrupts
from saft.project import where_to_run

P = ParamSpec("P")
_OF_TYPER = (typer.BadParameter, typer.Exit, typer.Abort, BrokenPipeError)  # which ends them well


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
                with terminations_as_interrupts():
                    main(*args, **kwargs)
            except _OF_TYPER:
                raise
            except Exception as error:
                show_traceback(error)
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
    line = explain(error, command or typed)
    if isinstance(error, UserError):
        named = not command or line.startswith(command)
        return (line if named else f"{command}: {line}") + where_to_run()
    return line if line.startswith(command or typed) else f"{command or typed}: {line}"

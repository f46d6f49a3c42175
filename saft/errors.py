"""How every `saft` command ends that cannot do what it was asked: one line, status 1."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from pipeline.common.errors import UserError
from pipeline.common.secrets import shown

P = ParamSpec("P")


def one_line_errors(command: str = "") -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A decorator: a UserError is printed as "error: <command>: <message>" on stderr, status 1.

    Args:
        command: as typed, "saft check"; not repeated where the message begins with it; empty:
            the message alone.
    """

    def decorate(main: Callable[P, None]) -> Callable[P, None]:
        @wraps(main)  # typer reads the arguments of `main` from it
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                main(*args, **kwargs)
            except UserError as error:
                named = not command or str(error).startswith(command)
                message = shown(str(error) if named else f"{command}: {error}")
                print(f"error: {message}", file=sys.stderr)
                raise SystemExit(1) from None

        return guarded

    return decorate

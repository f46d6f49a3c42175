"""How every `saft` command ends that cannot do what it was asked: one line, status 1."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

from pipeline.common.errors import UserError

P = ParamSpec("P")


def one_line_errors(command: str = "") -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A decorator: a UserError, an error of a file system and too little memory are printed as
    "error: <command>: <message>" on stderr, status 1.

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
                _leave(str(error), command)
            except OSError as error:
                if error.errno is None or isinstance(error, BrokenPipeError):
                    raise
                _leave(f"{error.filename or 'a file'}: {error.strerror}", command)
            except MemoryError:
                _leave("out of memory", command)

        return guarded

    return decorate


def _leave(message: str, command: str) -> NoReturn:
    named = not command or message.startswith(command)
    print(f"error: {message}" if named else f"error: {command}: {message}", file=sys.stderr)
    raise SystemExit(1) from None

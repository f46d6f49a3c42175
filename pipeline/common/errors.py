"""The one exception that users see as a single line instead of a traceback, and its wording."""

import re
from collections.abc import Sequence

# what would end a line, move a terminal's cursor, or cannot be printed: half a character
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    """The text in one line, with what cannot be printed there as Python writes it: "a\\nb"."""
    return _UNPRINTABLE.sub(lambda character: repr(character[0])[1:-1], text)


class UserError(Exception):
    """Something the user can fix.

    The message is one line: it names the file, key or class and says what to do.
    `stages.runner` prints it and exits with status 1; any other exception is a
    bug of this project and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def one_line(error: BaseException, most: int = 200) -> str:
    """An error's whole message in one line of at most `most` characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def listed(items: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first `most` items in one line, and how many there are beyond them.

    For example listed(["cat", "dog", "owl", "fox"], 2) is "cat, dog and 2 more".
    """
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more

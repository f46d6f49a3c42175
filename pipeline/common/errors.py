"""The one exception that users see as a single line instead of a traceback, and its wording."""

import unicodedata
from collections.abc import Sequence

# control characters, halves of surrogate pairs, line and paragraph separators
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
# marks that turn the direction of writing, so that a line reads other than it is
TURNING = {*"\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


class UserError(Exception):
    """Something the user can fix.

    The message is one line: it names the file, key or class and says what to do.
    Stages and commands print it and exit with status 1; for what any other exception makes them
    print see `pipeline.common.failures`.
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


def printable(text: str) -> str:
    """`text` in one line that commands no terminal: what is no character to see, such as the escape
    that colours or clears it, is written as Python writes it.

    For example printable("a\x1b[2Jb") is "a\\x1b[2Jb".
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        ascii(letter)[1:-1]
        if letter in TURNING or unicodedata.category(letter) in UNPRINTABLE
        else letter
        for letter in text
    )

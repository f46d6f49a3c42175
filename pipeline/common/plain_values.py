"""Texts and numbers that no parameter can be, whatever its schema says, and values in messages."""

import re
from collections.abc import Iterator
from typing import Any

LONGEST = 10_000  # characters of a text
SHOWN = 80  # most characters of a value in a message
# what no text holds: control characters but tab and line ends, and halves of a character
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def shown(value: Any) -> str:
    """A value for a message, in one line of at most `SHOWN` characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__} too long to be shown"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def problem(values: Any) -> str | None:
    """The first text or number within `values` that no parameter can be, with its key, or None."""
    for key, value in _leaves(values, ""):
        if reason := _reason(value):
            return f"key '{key}': {reason} (found {shown(value)})"
    return None


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """(key, value) of all that is neither list nor mapping; names of keys are values, too."""
    below = f"{key}." if key else ""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{below}(name)", name
            yield from _leaves(inner, f"{below}{name}")
    elif isinstance(value, (list, tuple, set)):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{below}{index}")
    else:
        yield key, value


def _reason(value: Any) -> str:
    if isinstance(value, str):
        if len(value) > LONGEST:
            return f"a text of more than {LONGEST:,} characters"
        if _NO_TEXT.search(value):
            return "a control character, or half a character, in a text"
    if isinstance(value, int) and value.bit_length() > 1023:
        return "a number too large for anything"
    return ""

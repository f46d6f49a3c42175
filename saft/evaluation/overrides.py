"""Two params files -> the `-S` arguments of `dvc exp run` that turn one into the other.

DVC reads them by Hydra's grammar: KEY=VALUE changes, +KEY=VALUE adds, ~KEY removes.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")  # a key that Hydra takes as a part of a path


def overrides(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Every change from `before` to `after`, nested keys joined by dots.

    Example: {"a": {"b": 1, "c": 2}} -> {"a": {"b": 3, "d": [4]}} is
    ["~a.c", "a.b=3", "+a.d=[4]"].
    """
    removed = [f"~{prefix}{key}" for key in before if key not in after]
    return [*removed, *_changed(before, after, prefix)]


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in after.items():
        path = f"{prefix}{key}"
        if key not in before:
            yield f"+{path}={literal(value)}"
        elif _nested(before[key]) and _nested(value):
            yield from overrides(before[key], value, f"{path}.")
        elif before[key] != value or type(before[key]) is not type(value):
            if isinstance(value, Mapping):  # Hydra would merge it into what is there
                yield f"~{path}"
            yield f"{'+' if isinstance(value, Mapping) else ''}{path}={literal(value)}"


def _nested(value: Any) -> bool:
    """Whether changes of `value` can be given key by key."""
    return isinstance(value, Mapping) and all(WORD.fullmatch(str(key)) for key in value)


def literal(value: Any) -> str:
    """A value in Hydra's grammar: strings in quotes, null, true, [..] and {..}. Keys stand without
    quotes: those of params.yaml are names."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(literal(v) for v in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    return repr(value)


def _quoted(text: str) -> str:
    """In single quotes. A backslash counts only before a quote, and is then doubled."""
    escaped = re.sub(r"(\\*)(?='|$)", lambda match: match[1] * 2, text).replace("'", "\\'")
    return f"'{escaped}'"

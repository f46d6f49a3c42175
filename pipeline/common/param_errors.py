"""What is wrong with the values of a params class, in words: one clause for each bad key.

pydantic names every alternative that a value is not, so that `classes: [0, 10]`, where a list of
names or a slice belongs, would be three errors about types. YAML is the reason: unquoted, 0 is a
number, 1e5 too, true is no word and 2024-01-01 is a date.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.common.errors import listed
from pipeline.common.plain_values import shown

MOST_LISTED = 4  # values of a list that a clause names
Path = tuple[Any, ...]  # keys and list positions that lead to a value
_TRUTH = ("yes", "no", "on", "off", "y", "n", "true", "false")
_NOTHING = ("none", "null", "nil", "nan", "")
_NUMBERS = ("int_type", "float_type", "int_parsing", "float_parsing")
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"), (int, "a number"), (float, "a number"),
    (datetime.date, "a date"), (type(None), "nothing"),
)  # fmt: skip
_PLURAL = {"a number": "numbers", "a date": "dates"}


class Problem(NamedTuple):
    """path: of the bad value; branch: the alternatives of its type that led there; error: as
    pydantic has it."""

    path: Path
    branch: Path
    error: Mapping[str, Any]


def explain(errors: Iterable[Mapping[str, Any]], values: Any) -> list[str]:
    """A clause for each bad key of `values`; the errors are those of a pydantic ValidationError.

    For example ["key 'classes': YAML reads 0, 10 as numbers; write each in quotes: '0'"].
    """
    grouped: dict[Path, list[Mapping[str, Any]]] = {}
    for path, _, error in _nearest([_located(error, values) for error in errors]):
        in_a_list = _is_unquoted(error) and path and isinstance(path[-1], int)
        grouped.setdefault(path[:-1] if in_a_list else path, []).append(error)
    return [_clause(path, alternatives) for path, alternatives in grouped.items()]


def _located(error: Mapping[str, Any], values: Any) -> Problem:
    """Where in `values` the error is: its `loc` without the names of types in it."""
    path: list[Any] = []
    branch: list[Any] = []
    for part in error["loc"]:
        if part in (values if isinstance(values, Mapping) else _positions(values)):
            path, values = [*path, part], values[part]
        elif error["type"] == "missing":
            path.append(part)
        else:
            branch.append(part)
    return Problem(tuple(path), tuple(branch), error)


def _positions(values: Any) -> range:
    return range(len(values) if isinstance(values, list) else 0)


def _nearest(problems: Sequence[Problem]) -> list[Problem]:
    """Without the alternatives that a value is further from: of a list with a number in it, that
    it is no text."""
    deeper = {p.path[:n] for p in problems if p.branch for n in range(len(p.path))}
    return [p for p in problems if not (p.branch and p.path in deeper)]


def _is_unquoted(error: Mapping[str, Any]) -> bool:
    return error["type"] == "string_type" and _kind(error["input"]) is not None


def _kind(value: Any) -> str | None:
    """What YAML takes a value without quotes for; None: text, or no single value."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), None)


def _clause(path: Path, errors: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with the value at `path`, of which the errors may be one for each type that it
    could have."""
    key = ".".join(map(str, path)) or "(section)"
    kind = errors[0]["type"]
    if kind in ("extra_forbidden", "missing"):
        return f"{'missing' if kind == 'missing' else 'unknown'} key '{key}'"
    if unquoted := quoting(errors):
        return f"key '{key}': {unquoted}"
    first, *others = [error["msg"] for error in errors]
    expected = " or ".join([first, *(text.removeprefix("Input should be ") for text in others)])
    return f"key '{key}': {expected} (found {shown(errors[0]['input'])}){_hint(errors[0])}"


def _hint(error: Mapping[str, Any]) -> str:
    value = error["input"]
    if isinstance(value, str) and error["type"] == "bool_type" and value.lower() in _TRUTH:
        return "; write true or false"
    if isinstance(value, str) and error["type"] in _NUMBERS and value.lower() in _NOTHING:
        return "; where there is no number, write null"
    return ""


def quoting(errors: Sequence[Mapping[str, Any]]) -> str | None:
    """What to put in quotes, in one clause; None: no value is text but for its quotes."""
    unquoted = [error["input"] for error in errors if _is_unquoted(error)]
    if not unquoted:
        return None
    kinds = list(dict.fromkeys(str(_kind(value)) for value in unquoted))
    words, one = [_as_yaml(value) for value in unquoted], len(unquoted) == 1
    what = " and ".join(kind if one else _PLURAL.get(kind, kind) for kind in kinds)
    return (
        f"YAML reads {listed(words, MOST_LISTED)} as {what}; write {'it' if one else 'each'} in "
        f"quotes, as it is meant: '{words[0]}'"
    )


def _as_yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)

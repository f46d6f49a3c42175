"""Extreme values for every key of a params file, and which stages read the key."""

import copy
import datetime
import math
from collections.abc import Iterator
from typing import Any

NAN, INF = math.nan, math.inf
KINDS: list[Any] = [None, True, [], {}, "x", datetime.date(2020, 1, 1)]  # of another kind
WHOLE: list[Any] = [0, -1, 1, 2**31 - 1, 2**31, 2**63, 10**30, 10**400, 1.5, NAN]
REAL: list[Any] = [-0.0, -1e-3, 5e-324, 1e-37, 1.0, 1e6, 1e39, NAN, INF, 10**30, 10**400]
TEXT: list[Any] = ["", " ", "x" * 300, "x" * 10_001, "a\0b", "\ud800", "a\nb", "../..", "/", "{}",
                   "{} {x}", "$(id)", "\N{PARTY POPPER}", 5, ["x"]]  # fmt: skip
LISTS: list[Any] = [[None], [[]], ["x", "x"], [""], ["\ud800"], [1, 1], [NAN], [{}]]
MAPPINGS: list[Any] = [{1: 2}, {"x": NAN}, {"": 1}, {"\0": 1}, {"x": {"x": [1]}}]
FREE = ("query", "extra_body")  # mappings whose keys the user chooses
Keys = tuple[str, ...]


def leaves(values: dict[str, Any], above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every key of a value, with the value."""
    for key, value in values.items():
        if isinstance(value, dict) and key not in FREE and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def extremes(value: Any) -> list[Any]:
    """Extreme values for a key that is `value` as it should be."""
    if isinstance(value, bool):
        return [0, 1, "true", *KINDS[2:], None]
    if isinstance(value, int):
        return WHOLE + KINDS
    if isinstance(value, float):
        return REAL + KINDS
    if isinstance(value, str):
        return TEXT + KINDS
    if isinstance(value, list):
        return [*LISTS, value * 2, *KINDS]
    if isinstance(value, dict):
        return MAPPINGS + KINDS
    return [*WHOLE[:5], *REAL[:6], *TEXT[:8], *LISTS[:3], *MAPPINGS[:1], *KINDS[1:]]  # null


def changed(values: dict[str, Any], keys: Keys, value: Any) -> dict[str, Any]:
    """A copy with one key changed, and the plug-in chosen that the key is an option of."""
    values = copy.deepcopy(values)
    if keys[1:2] == ("options",):
        plugin = keys[2]
        if keys[0] == "describe":
            values["describe"]["backend"] = plugin
        elif keys[0] == "finetune":
            values["finetune"]["method"] = plugin
        elif keys[0] == "evaluate":
            values["evaluate"]["attacks"] = [plugin]
    above = values
    for key in keys[:-1]:
        above = above[key]
    above[keys[-1]] = value
    return values


def stages_of(keys: Keys) -> list[tuple[str, ...]]:
    """The stages that read a key, with their arguments."""
    section, *below = keys
    if section == "data":
        return [("prepare", "tiny")]
    if section == "prepare":
        return [("prepare", below[1] if below[0] == "sets" else "tiny")]
    if section == "pretrain":
        return [("pretrain", below[0]), ("names",)]
    if section == "models":
        return [("model", below[0]), ("names",)]
    if section == "exemplars":
        return [("exemplars", below[0])]
    if section == "confusions":
        return [("confusions" if below[0] == "text" else "image_confusions", below[1])]
    if section == "embed":
        return [("texts", below[1]), ("names",)]
    if section == "evaluate":
        return _of_evaluate(below)
    if [*keys] == ["finetune", "captions"]:
        return [("embed_training",)]
    return {
        "describe": [("describe",), ("names",)],
        "filter": [("filter",)],
        "finetune": [("finetune",), ("names",)],
        "report": [("report",)],
    }[section]


def _of_evaluate(below: list[str]) -> list[tuple[str, ...]]:
    if below[0] == "checks":
        return [("check", "tiny", "base"), ("names",), ("report",)]
    attack = below[1] if below[0] == "options" else "pgd"
    return [("evaluate", "tiny", attack, "template", "4", "base"), ("names",), ("report",)]

"""A profile's evaluation in the user's params.yaml: what is defined there keeps its meaning.

A set that both define differently stands twice, the profile's as `<name>-<profile>`; the profile's
evaluation refers to that one.
"""

import copy
from collections.abc import Mapping
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE
from saft.references import used_sets

Values = dict[str, Any]


def with_protocol(values: Values, protocol: Mapping[str, Any], profile: str) -> Values:
    """params.yaml with the evaluation and the report of `profile`, whose image sets and text sets
    stand beside those there are; `values` and `protocol` stay as they are.

    Raises:
        UserError: params.yaml has another set under a name that the profile's would get.
    """
    result, taken = copy.deepcopy(values), copy.deepcopy(dict(protocol))
    image_sets = _merge(
        result["prepare"]["sets"], taken["prepare"]["sets"], profile, "prepare.sets"
    )
    templates = {
        name: {image_sets.get(key, key): of_set for key, of_set in by_set.items()}
        for name, by_set in taken["embed"]["texts"].items()
    }
    text_sets = _merge(result["embed"]["texts"], templates, profile, "embed.texts")
    evaluate = taken["evaluate"]
    for section in (evaluate, evaluate["checks"]):
        section["datasets"] = [image_sets.get(name, name) for name in section["datasets"]]
    evaluate["texts"] = [text_sets.get(name, name) for name in evaluate["texts"]]
    evaluate["attacker"] = text_sets.get(evaluate["attacker"], evaluate["attacker"])
    return {**result, "evaluate": evaluate, "report": taken["report"]}


def without_unused(values: Values, before: Values) -> Values:
    """`values` without the image sets that it has more than `before` and does not use."""
    sets, stay = values["prepare"]["sets"], {*before["prepare"]["sets"], *used_sets(values)}
    kept = {name: section for name, section in sets.items() if name in stay}
    return {**values, "prepare": {**values["prepare"], "sets": kept}}


def _merge(ours: Values, theirs: Values, profile: str, key: str) -> dict[str, str]:
    """Add `theirs` to `ours`; the names in `ours` of those that have got another one.

    Example: {"a": 1} and {"a": 2, "b": 3} become {"a": 1, "a-fast": 2, "b": 3}; {"a": "a-fast"}.
    """
    renamed = {}
    for name, definition in theirs.items():
        if ours.get(name, definition) != definition:
            renamed[name] = f"{name}-{profile}"
        new = renamed.get(name, name)
        if ours.setdefault(new, definition) != definition:
            raise UserError(
                f"{PARAMS_FILE}: {key}.{new} is not what the profile {profile} has under "
                f"'{name}'; rename it or remove it"
            )
    return renamed

"""The aliases file: a person's decisions which keys of a published file describe a class."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipeline.common.errors import UserError, listed
from pipeline.common.text_files import spelled_as
from pipeline.descriptions.matching import Undecided, nearest
from pipeline.descriptions.published_file import read_object
from pipeline.images.classes import ClassEntry

OPEN = "??"  # begins a value that is not decided yet
LISTED = 10  # undecided classes in a message


def read_decisions(
    aliases: Path, classes: Sequence[ClassEntry], path: Path, keys: Sequence[str]
) -> dict[str, list[str]]:
    """Class id -> keys (none for null), of the classes there are; ids of others are ignored.

    Args:
        path, keys: the published file, and its keys.

    Raises:
        UserError: a file is broken, or a value is no key, list of different keys or null.
    """
    keys_of: dict[str, list[str]] = {}
    ids, file_keys = {class_entry.class_id for class_entry in classes}, set(keys)
    decisions = read_object(aliases)
    for class_id, value in zip(spelled_as(decisions, ids), decisions.values(), strict=True):
        if not _is_decision(value):
            expected = "a key, a list of different keys, or null for none"
            raise UserError(f"{aliases}: '{class_id}': expected {expected}, found {value!r}")
        if class_id in keys_of:
            raise UserError(f"{aliases}: key '{class_id}' stands there in two forms; keep one")
        if class_id in ids:
            chosen = [value] if isinstance(value, str) else value or []
            keys_of[class_id] = spelled_as(chosen, file_keys) if chosen else []
            for key in keys_of[class_id]:
                if key not in file_keys:
                    raise UserError(f"{aliases}: '{class_id}': {_unknown(key, path, keys)}")
    return keys_of


def _is_decision(value: Any) -> bool:
    """A key, null, or a list of keys, at least one and none twice."""
    if not isinstance(value, list):
        return value is None or isinstance(value, str)
    return 0 < len(value) == len(set(map(str, value))) and all(isinstance(v, str) for v in value)


def _unknown(key: str, path: Path, keys: Sequence[str]) -> str:
    if key.startswith(OPEN):
        return f"still to be decided: write a key of {path}, a list of keys, or null for none"
    return f"'{key}' is no key of {path}; nearest: {_quoted(nearest(key, keys))}"


def refuse_undecided(
    undecided: Sequence[Undecided], total: int, path: Path, aliases: Path
) -> NoReturn:
    """Print every undecided class as a line for the aliases file; then the one-line error.

    The printed values are not keys, so that a line that was not edited is refused.

    Raises:
        UserError: always.
    """
    what = f"{len(undecided)} of {total} classes are undecided"
    lines = {
        case.class_entry.class_id: f"{OPEN} {case.class_entry.name} ({case.reason}): "
        + " | ".join(case.candidates)
        for case in undecided
    }
    print(
        f"{path}: {what}. For {aliases}, with a decision in place of each value:", file=sys.stderr
    )
    print(json.dumps(lines, indent=2, ensure_ascii=False), file=sys.stderr, flush=True)
    reasons = [
        f"{case.class_entry.class_id} ({case.class_entry.name}: {case.reason}; "
        f"nearest {_quoted(case.candidates)})"
        for case in undecided
    ]
    raise UserError(
        f'{path}: {what}: {listed(reasons, LISTED)}; write "<class id>": "<key>", a list of keys, '
        f"or null for none, into {aliases} (the lines to complete are printed above)"
    )


def _quoted(keys: Iterable[str]) -> str:
    return ", ".join(f"'{key}'" for key in keys) or "none"

"""Several description artifacts made one: people who share the work describe a part each.

A class is taken whole, from one artifact: rows of two artifacts for one class would share sample
indices. `ClassRows` is class id -> rows of pipeline.descriptions.artifact.SCHEMA, each with the
number of its image where it is a caption: a class's captions come from the same artifact.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.images.classes import ClassEntry
from saft.descriptions.text import listing

Row = dict[str, Any]
ClassRows = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Conflict:
    """A class that is in several inputs with other rows or under another name.

    names: the different ones, as they come; counts: sentences in each input, 0: not there.
    """

    class_id: str
    names: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Merged:
    """All rows in order, every class from the first input that has it.

    repeated: ids of the classes that are in several inputs with the same rows.
    conflicts: classes with which it matters that the first input won; a caller who was not
        told so must not use `rows`.
    by_table: rows are in the class table's order, not in that of the ids.
    """

    rows: list[Row]
    repeated: list[str]
    conflicts: list[Conflict]
    by_table: bool

    @property
    def preferred(self) -> list[str]:
        """Ids of the classes with conflicts."""
        return [conflict.class_id for conflict in self.conflicts]


def merge(inputs: Sequence[ClassRows], classes: Sequence[ClassEntry] | None) -> Merged:
    """Merge `inputs`; grouping them otherwise, but in the same order, gives the same rows.

    Args:
        classes: the class table, whose order holds if it has every class; None: no table.
    """
    first: dict[str, Sequence[Row]] = {}
    for class_rows in reversed(inputs):
        first.update(class_rows)
    order, by_table = _order(first, classes)
    several = [key for key in order if sum(key in class_rows for class_rows in inputs) > 1]
    checked = {key: _conflict(key, inputs) for key in several}
    return Merged(
        rows=[row for class_id in order for row in first[class_id]],
        repeated=[key for key, conflict in checked.items() if conflict is None],
        conflicts=[conflict for conflict in checked.values() if conflict is not None],
        by_table=by_table,
    )


def outcome_lines(merged: Merged, table: str | None) -> list[str]:
    """What was made, for people; `table` is the class table's file if there is one."""
    classes = len({row["class_id"] for row in merged.rows})
    lacks = f" ({table} does not have them all)" if table else ""
    lines = [
        f"  {len(merged.rows)} sentences for {classes} classes",
        f"  in the order of {table if merged.by_table else f'their ids{lacks}'}",
    ]
    if merged.repeated:
        lines.append(f"  the same in several inputs: {listing(merged.repeated)}")
    if merged.conflicts:
        lines.append(f"  from the first input that has them: {listing(merged.preferred)}")
    return lines


def conflict_lines(conflicts: Sequence[Conflict], inputs: Sequence[str]) -> list[str]:
    """A table of all conflicts for people: id, name(s) and sentences in each input."""
    head = ["class id", "name", *(f"[{number}]" for number in range(1, len(inputs) + 1))]
    body = [
        [c.class_id, " / ".join(c.names), *(str(count or "-") for count in c.counts)]
        for c in conflicts
    ]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    table = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *body)
    ]
    return [*table, *(f"[{number}] = {name}" for number, name in enumerate(inputs, start=1))]


def _order(class_rows: ClassRows, classes: Sequence[ClassEntry] | None) -> tuple[list[str], bool]:
    ids = [class_entry.class_id for class_entry in classes or []]
    if classes is not None and set(class_rows) <= set(ids):
        return [class_id for class_id in dict.fromkeys(ids) if class_id in class_rows], True
    return sorted(class_rows), False


def _conflict(class_id: str, inputs: Sequence[ClassRows]) -> Conflict | None:
    """None where all inputs that have the class have the same rows, in whatever order: the
    order of prompts in one class depends on the other classes of its artifact."""
    versions = [class_rows[class_id] for class_rows in inputs if class_id in class_rows]
    if all(_counted(rows) == _counted(versions[0]) for rows in versions):
        return None
    names = dict.fromkeys(row["class_name"] for rows in versions for row in rows)
    counts = tuple(len(class_rows.get(class_id, [])) for class_rows in inputs)
    return Conflict(class_id, tuple(names), counts)


def _counted(rows: Sequence[Row]) -> Counter[frozenset[tuple[str, Any]]]:
    return Counter(frozenset(row.items()) for row in rows)

"""What the rows of a table have to be like, for the validators that stand beside its schema.

A validator yields what is wrong with a table, the gravest first; `read_table` and `write_table` of
`pipeline.common.tables` refuse a table for its first fault. A later check may rely on the earlier
ones, since it is not asked after a fault:

    def faults(table):
        yield from rows.complete(table, nullable=["caption"])
        yield from rows.unique(table, ["class_id"])

Every check takes columns at once, for a table may have a row for each of a million images.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Faults = Callable[[pa.Table], Iterable[str]]


def complete(table: pa.Table, nullable: Collection[str] = ()) -> Iterator[str]:
    """There is a row, and no cell without a value but in the columns `nullable`."""
    if not table.num_rows:
        yield "holds no row"
    for name in table.column_names:
        if table[name].null_count and name not in nullable:
            row = int(np.flatnonzero(table[name].is_null().to_numpy())[0])
            yield f"column '{name}' has no value in row {row}"


def not_blank(table: pa.Table, column: str) -> Iterator[str]:
    """No text of `column` is empty or white space alone."""
    for row, text in enumerate(table[column].to_pylist()):
        if not text.strip():
            yield f"column '{column}' is blank in row {row}"


def unique(table: pa.Table, columns: Sequence[str]) -> Iterator[str]:
    """No two rows are the same in all of `columns`."""
    _, first = np.unique(row_numbers(table, columns), return_index=True)
    for row in np.setdiff1d(np.arange(len(table)), first)[:1].tolist():
        values = ", ".join(f"{name} '{table[name][row].as_py()}'" for name in columns)
        yield f"row {row} repeats an earlier one: {values}"


def at_least(table: pa.Table, column: str, least: int) -> Iterator[str]:
    """No value of an integer column is below `least`."""
    values = table[column].to_numpy()
    for row in np.flatnonzero(values < least)[:1].tolist():
        yield f"column '{column}' is {values[row]} in row {row}, below {least}"


def at(mask: np.ndarray, what: str) -> Iterator[str]:
    """No row is in `mask`, of those that are `what`."""
    for row in np.flatnonzero(mask)[:1]:
        yield f"row {row} {what}"


def together(table: pa.Table, group: str) -> Iterator[str]:
    """The rows of a `group` stand together."""
    numbers = row_numbers(table, [group])
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    _, first = np.unique(numbers[starts], return_index=True)
    for row in np.delete(starts, first)[:1].tolist():
        name = table[group][row].as_py()
        yield f"row {row}: {group} '{name}' begins anew, its rows do not stand together"


def counted(table: pa.Table, group: str, column: str) -> Iterator[str]:
    """The rows of a `group` stand together, and `column` counts them from 0: ranks and slots.

    For example a, a, b with 0, 1, 0 is as it should be; a, b, a is not, nor is a, a with 1, 0.
    """
    yield from together(table, group)
    starts = np.flatnonzero(np.diff(row_numbers(table, [group]), prepend=-1))
    lengths = np.diff(starts, append=len(table))
    expected = np.arange(len(table)) - np.repeat(starts, lengths)
    values = table[column].to_numpy()
    for row in np.flatnonzero(values != expected)[:1].tolist():
        where = f"row {row}: {column} of {group} '{table[group][row].as_py()}'"
        yield f"{where} is {values[row]}, where {expected[row]} has to be"


def one_for_each(table: pa.Table, group: str, column: str) -> Iterator[str]:
    """Rows of the same `group` have the same value of `column`."""
    numbers = row_numbers(table, [group])
    _, first = np.unique(numbers, return_index=True)
    values = row_numbers(table, [column])
    for row in np.flatnonzero(values != values[first][numbers])[:1].tolist():
        name, value = table[group][row].as_py(), table[column][row].as_py()
        yield f"row {row}: {column} of {group} '{name}' is '{value}', and another above"


def equally_many(table: pa.Table, group: str) -> Iterator[str]:
    """Every `group` has as many rows."""
    counts = np.bincount(row_numbers(table, [group]))
    names = table[group].unique().to_pylist()
    for number in np.flatnonzero(counts != counts[:1])[:1].tolist():
        yield f"{group} '{names[number]}' has {counts[number]} rows, '{names[0]}' {counts[0]}"


def row_numbers(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """int64 (rows,): equal where rows are the same in all of `columns`, which have no nulls; of one
    column in the order in which its values first appear, from 0."""
    numbers: Any = np.zeros(table.num_rows, dtype=np.int64)
    for name in columns:
        encoded = table[name].combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy().astype(np.int64)
        if name == columns[0]:
            numbers = codes
        else:  # made small again, or the product of several columns would not fit
            product = numbers * len(encoded.dictionary) + codes
            numbers = np.unique(product, return_inverse=True)[1]
    return numbers

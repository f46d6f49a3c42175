"""data/filtered/descriptions.parquet: every sentence, whether it is kept, and why.

Classes in label order; within a class the K kept ones first, then the others by rank, then
those that were not ranked.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.common import rows
from pipeline.common.finite import not_finite
from pipeline.common.tables import write_table

FILTERED = Path("data/filtered/descriptions.parquet")
SCHEMA = pa.schema(
    [
        ("class_id", pa.string()),
        ("class_name", pa.string()),
        ("sentence", pa.string()),  # after cleaning
        ("prompt_set", pa.string()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("source", pa.string()),
        ("tokens", pa.int32()),  # of the model's tokenizer, with start and end
        ("shortened", pa.bool_()),
        ("score", pa.float32()),  # by filter.rank_by: cosine with its class's reference; null: none
        ("margin", pa.float32()),  # score minus the highest with another class
        ("nearest_class", pa.string()),  # id of that other class
        ("rank", pa.int32()),  # from 0 within the class; null: not ranked
        ("kept", pa.bool_()),
        ("reason", pa.string()),  # why it was dropped; null: kept
    ]
)
NULLABLE = ("score", "margin", "nearest_class", "rank", "reason")


def filtered_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of the table; see `pipeline.common.rows`."""
    yield from rows.complete(table, NULLABLE)
    yield from rows.together(table, "class_id")
    yield from rows.one_for_each(table, "class_id", "class_name")
    kept = table["kept"].to_numpy()
    ranked = table["rank"].is_valid().to_numpy()
    yield from rows.at(kept & ~ranked, "is kept and has no rank")
    yield from rows.at(kept & table["reason"].is_valid().to_numpy(), "is kept and was dropped")
    yield from rows.at(~kept & table["reason"].is_null().to_numpy(), "was dropped for no reason")
    unmatched = table["margin"].is_null().to_numpy() != table["nearest_class"].is_null().to_numpy()
    yield from rows.at(unmatched, "has one of margin and nearest_class and not the other")
    for column, least in (("sample_index", 0), ("tokens", 1)):
        yield from rows.at_least(table, column, least)
    yield from rows.counted(table.filter(pa.array(ranked)), "class_id", "rank")
    yield from _kept_faults(table, kept)
    yield from number_faults(table)


def _kept_faults(table: pa.Table, kept: np.ndarray) -> Iterator[str]:
    """The K first ranks of every class are kept, and no other."""
    kept_rows = table.filter(pa.array(kept))
    yield from rows.equally_many(kept_rows, "class_id")
    classes = len(table["class_id"].unique())
    if len(kept_rows) % classes:
        yield f"{len(kept_rows)} rows are kept, which are not as many of each of {classes} classes"
    rank = table["rank"].fill_null(len(table)).to_numpy()
    top = rank < len(kept_rows) // classes
    yield from rows.at(kept != top, "is kept, and an earlier rank is not, or the other way round")


def write_filtered(path: Path, columns: dict[str, Any]) -> None:
    """Write the table to `path`, which becomes FILTERED.

    Raises:
        UserError: a row is not as it has to be, or a score is no number.
    """
    write_table(path, columns, SCHEMA, filtered_faults)


def number_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the numbers of a table of SCHEMA: a sentence is ranked by its score."""
    yield from not_finite(table, ["score", "margin"])
    ranked, scored = ~table["rank"].is_null().to_numpy(), ~table["score"].is_null().to_numpy()
    unscored = np.flatnonzero(ranked & ~scored)
    if len(unscored):
        yield f"row {unscored[0]} has a rank and no score"

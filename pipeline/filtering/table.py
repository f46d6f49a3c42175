"""data/filtered/descriptions.parquet: every sentence, whether it is kept, and why.

Classes in label order; within a class the K kept ones first, then the others by rank, then
those that were not ranked.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.common.errors import UserError
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


def write_filtered(path: Path, columns: dict[str, Any]) -> None:
    """Write the table to `path`, which becomes FILTERED.

    Raises:
        UserError: a score is no number.
    """
    for fault in number_faults(pa.Table.from_pydict(columns, schema=SCHEMA)):
        raise UserError(f"{FILTERED.name}: {fault}; nothing was written")
    write_table(path, columns, SCHEMA)


def number_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the numbers of a table of SCHEMA: a sentence is ranked by its score."""
    yield from not_finite(table, ["score", "margin"])
    ranked, scored = ~table["rank"].is_null().to_numpy(), ~table["score"].is_null().to_numpy()
    unscored = np.flatnonzero(ranked & ~scored)
    if len(unscored):
        yield f"row {unscored[0]} has a rank and no score"

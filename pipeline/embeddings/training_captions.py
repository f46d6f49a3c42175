"""The caption of each image of the training set and its embedding, for methods that train on them:

    data/training_embeddings/per_image/captions.parquet

a row per image, by stage embed_training; not there where finetune.captions has none.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.common import rows
from pipeline.zeroshot.text_sets import TRAINING

FILE = Path("per_image", "captions.parquet")  # below TRAINING; no text set has that path
NO_CAPTIONS = Path("data/bundled/no_captions.parquet")  # finetune.captions: none; in git
SCHEMA = pa.schema(
    [
        ("image", pa.int32()),
        ("class_id", pa.string()),
        ("source", pa.string()),  # of the image, as in items.parquet; '' where the file told none
        ("text", pa.string()),
    ]
)
REMEDY = "let finetune.captions name a file with one for each image (docs/descriptions.md)"


def schema(width: int) -> pa.Schema:
    """Number, class and source of the image, its caption, and the unit-norm float32 embedding of
    length `width`."""
    return SCHEMA.append(pa.field("embedding", pa.list_(pa.float32(), width)))


def caption_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows; see `pipeline.common.rows`."""
    yield from rows.complete(table)
    yield from rows.at_least(table, "image", 0)
    numbers = table["image"].to_numpy()
    yield from rows.at(np.diff(numbers, prepend=-1) <= 0, "is not of a later image")
    if table["embedding"].combine_chunks().flatten().null_count:
        yield "column 'embedding' has a number without a value"


def captions_file() -> Path | None:
    """The file; None where there are no captions."""
    path = TRAINING / FILE
    return path if path.exists() else None

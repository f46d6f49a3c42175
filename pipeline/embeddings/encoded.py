"""Texts encoded into tables; the encoder is passed in. Their files and who reads them:
`pipeline.zeroshot.text_sets`."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.common.atomic import replacing_directory
from pipeline.common.tables import write_table
from pipeline.zeroshot.text_sets import (
    ATTACKER,
    CLASSIFYING,
    check_embeddings,
    embedding_faults,
    schema,
)
from pipeline.zeroshot.text_tables import TextTable

Encode = Callable[[list[str]], np.ndarray]  # N texts -> float32 (N, D), unit norm


def write_encoded(path: Path, table: TextTable, encode: Encode) -> None:
    """Write the texts of a table with their embeddings.

    Raises:
        UserError: an embedding is not finite, zero, or not of unit norm.
    """
    vectors = encode(table.texts)
    check_embeddings(vectors, table.class_ids, table.texts, path.name, "the encoder is broken")
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    embeddings = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    columns = table.columns | {"embedding": embeddings}
    with_origin = schema(vectors.shape[1]).with_metadata(table.metadata)
    write_table(path, columns, with_origin, embedding_faults)


def write_text_set(
    folder: Path,
    classifying: Mapping[str, TextTable],
    seen: Mapping[str, TextTable],
    encode: Encode,
) -> None:
    """Write the embeddings of a text set for every image set, as a whole.

    Args:
        classifying, seen: by image set, what classifies and what the attacker sees.
    """
    with replacing_directory(folder) as partial:
        for part, tables in ((CLASSIFYING, classifying), (ATTACKER, seen)):
            for dataset, table in tables.items():
                write_encoded(partial / part / f"{dataset}.parquet", table, encode)

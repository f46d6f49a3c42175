"""Text embeddings as tables: the last place where text is encoded.

`descriptions.parquet` holds K rows per class (caption slot k = rank k), and
`classes/<set>.parquet` one row per class: the normalised mean of the unit-norm template
embeddings (open_clip's zero-shot classifier).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.images import ClassEntry
from pipeline.params import Section, Template
from pipeline.tables import read_table

FOLDER = Path("data/embeddings")
TEMPLATES_KEY = "templates"  # of the Parquet file's metadata
Encode = Callable[[list[str]], np.ndarray]  # N texts -> float32 (N, D), unit norm
Columns = tuple[dict[str, Any], pa.Schema]


class EmbedParams(Section):
    """Section `embed` of params.yaml, where every key is explained."""

    templates: dict[str, list[Template]]


def schema(width: int) -> pa.Schema:
    """class_id, caption slot, text, and the unit-norm float32 embedding of length `width`."""
    return pa.schema(
        [
            ("class_id", pa.string()),
            ("slot", pa.int32()),
            ("text", pa.string()),
            ("embedding", pa.list_(pa.float32(), width)),
        ]
    )


def templates_of(dataset: str, params: EmbedParams) -> list[str]:
    """The templates of a set: its own entry, else `default`.

    Raises:
        UserError: neither exists.
    """
    chosen = params.templates.get(dataset, params.templates.get("default"))
    if not chosen:
        raise UserError(f"params.yaml: embed.templates has neither '{dataset}' nor 'default'")
    return chosen


def read_embeddings(path: Path, class_ids: Sequence[str]) -> np.ndarray:
    """Embeddings of the classes, in their order: float32 (C, K, D), unit norm.

    Raises:
        UserError: a class of `class_ids` is missing, or classes differ in their slots.
    """
    table = read_table(path, schema(1))
    width = table.schema.field("embedding").type.list_size
    flat = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    rows: dict[str, list[int]] = {}
    for row, class_id in enumerate(table["class_id"].to_pylist()):
        rows.setdefault(class_id, []).append(row)
    missing = [class_id for class_id in class_ids if class_id not in rows]
    if missing:
        raise UserError(
            f"{path}: no embedding for class '{missing[0]}' ({len(missing)} classes in all)"
        )
    if len({len(rows[class_id]) for class_id in class_ids}) > 1:
        raise UserError(f"{path}: classes differ in their number of captions")
    return np.stack([flat[rows[class_id]] for class_id in class_ids])


def description_columns(rows: Sequence[dict[str, Any]], encode: Encode) -> Columns:
    """One row per kept sentence (class_id, rank as slot, sentence), with its schema."""
    vectors = encode([row["sentence"] for row in rows])
    return _columns(
        [row["class_id"] for row in rows],
        [row["rank"] for row in rows],
        [row["sentence"] for row in rows],
        vectors,
    )


def class_columns(
    classes: Sequence[ClassEntry], templates: Sequence[str], encode: Encode
) -> Columns:
    """One row per class: the normalised mean of its template embeddings."""
    texts = [template.replace("{}", entry.name) for entry in classes for template in templates]
    mean = encode(texts).reshape(len(classes), len(templates), -1).mean(1)
    vectors = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    joined = [
        " | ".join(template.replace("{}", entry.name) for template in templates)
        for entry in classes
    ]
    columns, kind = _columns(
        [entry.class_id for entry in classes], [0] * len(classes), joined, vectors
    )
    return columns, kind.with_metadata({TEMPLATES_KEY: json.dumps(list(templates))})


def read_templates(path: Path) -> list[str]:
    """The templates a class embedding file was made with."""
    metadata = pq.read_schema(path).metadata or {}
    return list(json.loads(metadata.get(TEMPLATES_KEY.encode(), b"[]")))


def _columns(
    class_ids: list[str], slots: list[int], texts: list[str], vectors: np.ndarray
) -> Columns:
    width = vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns = {
        "class_id": class_ids,
        "slot": slots,
        "text": texts,
        "embedding": pa.FixedSizeListArray.from_arrays(flat, width),
    }
    return columns, schema(width)

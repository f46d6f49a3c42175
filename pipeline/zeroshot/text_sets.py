"""Text embeddings as zero-shot classifiers, read from data/embeddings/:

    descriptions.parquet            the training ensemble: K rows per class (slot k = rank k)
    texts/<text set>/<set>.parquet  what classifies an image set: a row per class and text
    attacker/<text set>/<set>.parquet   what the attacker sees when that text set classifies
A text set is a name in `embed.texts` (templates), or "descriptions": the kept descriptions.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.common.errors import UserError
from pipeline.common.tables import read_table

FOLDER = Path("data/embeddings")
TRAINING = FOLDER / "descriptions.parquet"
DESCRIPTIONS = "descriptions"  # the text set that is not in embed.texts
TEMPLATE = "template"  # the text set that methods without descriptions train on
SAME = "same"  # evaluate.attacker: the attacker sees the texts that classify
METADATA = b"text set"


class TextSet(NamedTuple):
    """Texts of the classes of one image set.

    name: the text set; templates: what it was filled from, empty for descriptions;
    captions: float32 (C, K, D), unit norm, one feature per text.
    """

    name: str
    templates: list[str]
    captions: np.ndarray

    @property
    def class_features(self) -> np.ndarray:
        """float32 (C, D), one feature per class.

        Templates: the normalised mean (open_clip's zero-shot classifier). Descriptions: the
        plain mean, whose logits are the mean of the K descriptions' logits, as SAFT judges.
        """
        mean = self.captions.mean(1)
        if self.name == DESCRIPTIONS:
            return mean
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


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


def read_texts(path: Path, class_ids: Sequence[str]) -> TextSet:
    """A file of texts/ or attacker/, with the classes in the order of `class_ids`."""
    captions = read_embeddings(path, class_ids)
    origin = json.loads((pq.read_schema(path).metadata or {}).get(METADATA, b"null"))
    if not isinstance(origin, dict):
        raise UserError(f"{path}: names no text set; run `dvc repro embed`")
    return TextSet(origin["name"], origin["templates"], captions)


def read_pair(texts: str, dataset: str, class_ids: Sequence[str]) -> tuple[TextSet, TextSet]:
    """The texts that classify an image set under a text set, and those that the attacker sees."""
    both = (FOLDER / part / texts / f"{dataset}.parquet" for part in ("texts", "attacker"))
    classifying, seen = (read_texts(path, class_ids) for path in both)
    return classifying, seen


def read_class_features(path: Path, class_ids: Sequence[str]) -> np.ndarray:
    """float32 (C, D) class features of a file of texts/; see `TextSet.class_features`."""
    return read_texts(path, class_ids).class_features

"""Text embeddings as zero-shot classifiers:

    data/embeddings/<model>/<text set>/
        texts/<image set>.parquet      what classifies it: a row per class and text
        attacker/<image set>.parquet   what the attacker sees meanwhile
    data/training_embeddings/          what fine-tuning sees, by the base model
        descriptions.parquet           K rows per class (slot k = rank k)
        template.parquet
`pipeline.zeroshot.text_tables` has the texts themselves.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.common.errors import UserError
from pipeline.common.finite import AGAIN, check_unit_norm
from pipeline.common.tables import read_table
from pipeline.zeroshot.text_tables import DESCRIPTIONS, SCHEMA, TEMPLATE, read_origin

EMBEDDINGS = Path("data/embeddings")
TRAINING = Path("data/training_embeddings")
CLASSIFYING, ATTACKER = "texts", "attacker"  # the two folders of a model and text set
SHORTEST_MEAN = 1e-3  # of a class's unit-norm texts: those of one class point the same way


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
    return SCHEMA.append(pa.field("embedding", pa.list_(pa.float32(), width)))


def folder_of(model: str, texts: str) -> Path:
    """The embeddings of a text set by a model."""
    return EMBEDDINGS / model / texts


def pair_files(model: str, texts: str, dataset: str) -> tuple[Path, Path]:
    """The files of the texts that classify an image set, and of those that the attacker sees."""
    folder, name = folder_of(model, texts), f"{dataset}.parquet"
    return folder / CLASSIFYING / name, folder / ATTACKER / name


def training_files() -> tuple[Path, Path]:
    """The files of the descriptions and of the template that fine-tuning sees."""
    return TRAINING / f"{DESCRIPTIONS}.parquet", TRAINING / f"{TEMPLATE}.parquet"


def read_embeddings(path: Path, class_ids: Sequence[str]) -> np.ndarray:
    """Embeddings of the classes, in their order: float32 (C, K, D), unit norm.

    Raises:
        UserError: a class of `class_ids` is missing, classes differ in their slots, or an embedding
            is not of unit norm.
    """
    table = read_table(path, schema(1))
    width = table.schema.field("embedding").type.list_size
    flat = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    ids = table["class_id"].to_pylist()
    check_embeddings(flat, ids, table["text"], str(path))
    rows: dict[str, list[int]] = {}
    for row, class_id in enumerate(ids):
        rows.setdefault(class_id, []).append(row)
    missing = [class_id for class_id in class_ids if class_id not in rows]
    if missing:
        raise UserError(
            f"{path}: no embedding for class '{missing[0]}' ({len(missing)} classes in all)"
        )
    if len({len(rows[class_id]) for class_id in class_ids}) > 1:
        raise UserError(f"{path}: classes differ in their number of captions")
    return np.stack([flat[rows[class_id]] for class_id in class_ids])


def check_embeddings(
    vectors: np.ndarray,
    class_ids: Sequence[str],
    texts: Sequence[Any],
    where: str,
    advice: str = AGAIN,
) -> None:
    """Raise UserError, `where` first, then class and text, unless all of float32 (N, D) are finite
    and of unit norm."""
    check_unit_norm(
        vectors, where, lambda row: f"class '{class_ids[row]}', text '{texts[row]}',", advice
    )


def read_texts(path: Path, class_ids: Sequence[str]) -> TextSet:
    """A file of texts/ or attacker/, with the classes in the order of `class_ids`.

    Raises:
        UserError: see `read_embeddings`; or the texts of a class cancel each other out.
    """
    captions = read_embeddings(path, class_ids)
    texts = TextSet(*read_origin(path), captions)
    lengths = np.linalg.norm(captions.mean(1), axis=1)
    if lengths.min() < SHORTEST_MEAN:
        class_id = class_ids[int(lengths.argmin())]
        raise UserError(f"{path}: the texts of class '{class_id}' cancel each other out; {AGAIN}")
    return texts


def read_pair(
    model: str, texts: str, dataset: str, class_ids: Sequence[str]
) -> tuple[TextSet, TextSet]:
    """The texts that classify an image set under a text set, and those that the attacker sees."""
    classifying, seen = (read_texts(path, class_ids) for path in pair_files(model, texts, dataset))
    return classifying, seen


def read_class_features(path: Path, class_ids: Sequence[str]) -> np.ndarray:
    """float32 (C, D) class features of a file of texts/; see `TextSet.class_features`."""
    return read_texts(path, class_ids).class_features

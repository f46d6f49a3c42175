"""Text embeddings as zero-shot classifiers:

    data/embeddings/<model>/<text set>/
        texts/<image set>.parquet      what classifies it: a row per class and text
        attacker/<image set>.parquet   what the attacker sees meanwhile
    data/training_embeddings/          what fine-tuning sees, by the base model
        descriptions.parquet           K rows per class (slot k = rank k)
        template.parquet
        <text set>.parquet             each of finetune.texts
`pipeline.zeroshot.text_tables` has the texts themselves.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.common.errors import UserError
from pipeline.common.finite import AGAIN, check_unit_norm
from pipeline.common.tables import read_table
from pipeline.zeroshot.text_tables import (
    DESCRIPTIONS,
    SCHEMA,
    TEMPLATE,
    check_same_classes,
    check_text_set,
    origin_of,
    text_faults,
)

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


def embedding_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of a table of embeddings; see `pipeline.common.rows`."""
    yield from text_faults(table)
    column = table["embedding"].combine_chunks()
    if column.type.list_size < 1:
        yield "column 'embedding' has no numbers"
    if column.flatten().null_count:
        yield "column 'embedding' has a number without a value"


def folder_of(model: str, texts: str) -> Path:
    """The embeddings of a text set by a model."""
    return EMBEDDINGS / model / texts


def pair_files(model: str, texts: str, dataset: str) -> tuple[Path, Path]:
    """The files of the texts that classify an image set, and of those that the attacker sees."""
    folder, name = folder_of(model, texts), f"{dataset}.parquet"
    return folder / CLASSIFYING / name, folder / ATTACKER / name


def training_file(texts: str) -> Path:
    """The file of a text set that fine-tuning sees."""
    return TRAINING / f"{texts}.parquet"


def training_files() -> tuple[Path, Path]:
    """The files of the descriptions and of the template, which fine-tuning always sees."""
    return training_file(DESCRIPTIONS), training_file(TEMPLATE)


def read_embeddings(path: Path, class_ids: Sequence[str]) -> np.ndarray:
    """Embeddings of the classes, in their order: float32 (C, K, D), unit norm.

    Raises:
        UserError: a class of `class_ids` is missing, the rows are damaged, or an embedding is not
            of unit norm.
    """
    return _captions(read_table(path, schema(1), embedding_faults), path, class_ids)


def _captions(table: pa.Table, path: Path, class_ids: Sequence[str]) -> np.ndarray:
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


def read_texts(path: Path, class_ids: Sequence[str], others: bool = True) -> TextSet:
    """A file of texts/ or attacker/, with the classes in the order of `class_ids`.

    Args:
        others: it may hold classes beside these.

    Raises:
        UserError: see `read_embeddings`; or the texts of a class cancel each other out.
    """
    table = read_table(path, schema(1), embedding_faults)
    captions = _captions(table, path, class_ids)
    if not others:
        check_same_classes(path, table["class_id"].unique().to_pylist(), class_ids)
    texts = TextSet(*origin_of(table, path), captions)
    lengths = np.linalg.norm(captions.mean(1), axis=1)
    if lengths.min() < SHORTEST_MEAN:
        class_id = class_ids[int(lengths.argmin())]
        raise UserError(f"{path}: the texts of class '{class_id}' cancel each other out; {AGAIN}")
    return texts


def read_pair(
    model: str, texts: str, dataset: str, class_ids: Sequence[str]
) -> tuple[TextSet, TextSet]:
    """The texts that classify an image set under a text set, and those that the attacker sees.

    Raises:
        UserError: a file is missing or damaged, or of another text set or of other classes.
    """
    paths = pair_files(model, texts, dataset)
    classifying, seen = (read_texts(path, class_ids, others=False) for path in paths)
    check_text_set(paths[0], classifying.name, texts)
    return classifying, seen


def read_class_features(path: Path, class_ids: Sequence[str]) -> np.ndarray:
    """float32 (C, D) class features of a file of texts/; see `TextSet.class_features`."""
    return read_texts(path, class_ids).class_features

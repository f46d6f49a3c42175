"""Captions of single images, read from where finetune.captions says, and encoded."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, write_table
from pipeline.embeddings.encoded import Encode
from pipeline.embeddings.training_captions import NO_CAPTIONS, REMEDY, caption_faults, schema
from pipeline.images.classes import ClassEntry, check_labels

# what is read of a file: a row for each image, in their order, as items.parquet of an image set
# (with SOURCE, the image's, where the file has it), or each with the image's number, as the
# captions.parquet of stage describe
SOURCE = "source"
BY_ROW = pa.schema([("label", pa.int32()), ("caption", pa.string())])
BY_NUMBER = pa.schema([("class_id", pa.string()), ("image", pa.int32()), ("sentence", pa.string())])


class Captions(NamedTuple):
    """`texts[i]` is the caption of image `images[i]`, which is of class `class_ids[i]` and from
    `sources[i]`, '' where that is not told; the numbers rise."""

    images: list[int]
    class_ids: list[str]
    sources: list[str]
    texts: list[str]


def read_captions(path: Path, classes: Sequence[ClassEntry]) -> Captions | None:
    """The captions of a Parquet file with the columns of BY_ROW or of BY_NUMBER; None of
    NO_CAPTIONS. Of several sentences on an image the first is its caption.

    Args:
        classes: of the training set, by label.

    Raises:
        UserError: the file is missing or damaged, or has no row, or one without a caption.
    """
    if path == NO_CAPTIONS:
        return None
    if not path.is_file():
        reason = "is a folder, not a Parquet file" if path.is_dir() else "not found"
        raise UserError(f"{path}: {reason}; {REMEDY}")
    table = read_table(path, _schema(path))
    for columns in (BY_ROW, BY_NUMBER):
        if all(name in table.column_names for name in columns.names):
            sources = _sources(table) if columns is BY_ROW else [""] * len(table)
            return _captions(
                _plain(table.select(columns.names), columns, path), sources, classes, path
            )
    one, other = (", ".join(columns.names) for columns in (BY_ROW, BY_NUMBER))
    raise UserError(f"{path}: has neither columns {one} nor {other}; {REMEDY}")


def _sources(table: pa.Table) -> list[str]:
    """Where each row's image comes from, '' where the table does not tell."""
    if SOURCE not in table.column_names:
        return [""] * len(table)
    return [str(value or "") for value in table[SOURCE].to_pylist()]


def _captions(
    table: pa.Table, sources: list[str], classes: Sequence[ClassEntry], path: Path
) -> Captions:
    """The captions of a table with the columns of BY_ROW or of BY_NUMBER."""
    *_, text = table.column_names
    texts = [(value or "").strip() for value in table[text].to_pylist()]
    if not texts:
        raise UserError(f"{path}: holds no row; {REMEDY}")
    blank = [row for row, value in enumerate(texts) if not value]
    if blank:
        raise UserError(
            f"{path}: no {text} in row {blank[0]} ({len(blank)} of {len(texts)} have none); "
            f"{REMEDY}"
        )
    if "image" not in table.column_names:
        labels = table["label"].to_numpy().astype(np.int64)
        check_labels(labels, len(classes), str(path))
        ids = [classes[label].class_id for label in labels.tolist()]
        return Captions(list(range(len(texts))), ids, sources, texts)
    images, ids = table["image"].to_pylist(), table["class_id"].to_pylist()
    unknown = set(ids) - {entry.class_id for entry in classes}
    if unknown:
        raise UserError(f"{path}: class '{min(unknown)}' is none of finetune.dataset; {REMEDY}")
    if min(images) < 0:
        raise UserError(f"{path}: image {min(images)} is below 0; {REMEDY}")
    return _first_of_each(images, ids, texts)


def write_captions(path: Path, captions: Captions, encode: Encode) -> int:
    """Write the captions with their embeddings; each different text is encoded once.

    Returns:
        how many texts differ.
    """
    different = list(dict.fromkeys(captions.texts))
    row_of = {text: row for row, text in enumerate(different)}
    vectors = encode(different)[[row_of[text] for text in captions.texts]]
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    embeddings = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    columns = {
        "image": captions.images,
        "class_id": captions.class_ids,
        "source": captions.sources,
        "text": captions.texts,
        "embedding": embeddings,
    }
    write_table(path, columns, schema(vectors.shape[1]), caption_faults)
    return len(different)


def _schema(path: Path) -> pa.Schema:
    """That of the file: what counts are the columns that are read."""
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowInvalid):  # reading the table says what is wrong with it
        return BY_ROW


def _plain(table: pa.Table, columns: pa.Schema, path: Path) -> pa.Table:
    """The table with the types of `columns`; integers and texts of other widths are taken too."""
    try:
        table = table.cast(columns)
    except pa.ArrowException:
        kinds = ", ".join(f"{field.name}:{field.type}" for field in columns)
        raise UserError(f"{path}: columns are not {kinds}; {REMEDY}") from None
    for name in columns.names[:-1]:
        if table[name].null_count:
            raise UserError(f"{path}: column '{name}' has a row without a value; {REMEDY}")
    return table


def _first_of_each(images: list[int], class_ids: list[str], texts: list[str]) -> Captions:
    rows: dict[int, int] = {}
    for row, image in enumerate(images):
        rows.setdefault(image, row)
    order = sorted(rows)
    chosen = [rows[image] for image in order]
    ids = [class_ids[row] for row in chosen]
    return Captions(order, ids, [""] * len(order), [texts[row] for row in chosen])

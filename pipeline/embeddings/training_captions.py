"""The caption of each image of the training set and its embedding, for methods that train on them:

    data/training_embeddings/per_image/captions.parquet

a row per image, by stage embed_training; not there where finetune.captions has none.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.common import rows
from pipeline.common.errors import UserError
from pipeline.common.finite import check_unit_norm
from pipeline.common.tables import read_table
from pipeline.images.image_set import IMAGES, ITEM_SCHEMA, ImageSet
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


def read_captions(images: ImageSet, width: int) -> np.ndarray | None:
    """float32 (N, D) unit-norm embeddings, one for each image of the training set, in their order;
    None where there are no captions.

    Args:
        width: D of the other texts.

    Raises:
        UserError: an image has none, they are of other images, of another width, or the file is
            damaged.
    """
    path = captions_file()
    if path is None:
        return None
    dataset, labels = images.name, images.labels
    table = read_table(path, schema(1), caption_faults)
    numbers = table["image"].to_numpy()
    missing = np.setdiff1d(np.arange(len(labels)), numbers)
    if len(missing):
        raise UserError(
            f"{path}: image {missing[0]} of set '{dataset}' has no caption ({len(missing)} of "
            f"{len(labels)} have none); {REMEDY}"
        )
    check_images(path, images, table)
    if table.schema.field("embedding").type.list_size != width:
        raise UserError(f"{path}: not embeddings of {width} numbers; run `dvc repro`")
    flat = table["embedding"].combine_chunks().flatten()
    vectors = flat.to_numpy(zero_copy_only=False, writable=True).reshape(-1, width)
    check_unit_norm(vectors, str(path), lambda row: f"image {row}, text '{table['text'][row]}',")
    return vectors


def check_images(path: Path, images: ImageSet, table: pa.Table) -> None:
    """Raise UserError if the captions are of more images than the set has, or an image has another
    class or source there."""
    count = len(images.labels)
    if len(table) > count:
        raise UserError(f"{path}: set '{images.name}' has no image {count}; {REMEDY}")
    items = read_table(IMAGES / images.name / "items.parquet", ITEM_SCHEMA)
    class_ids = [images.classes[label].class_id for label in images.labels.tolist()]
    for column, expected in (("class_id", class_ids), ("source", items["source"].to_pylist())):
        stated = table[column].to_pylist()
        for image, (one, other) in enumerate(zip(stated, expected, strict=True)):
            if one not in (other, ""):
                raise UserError(
                    f"{path}: image {image} has {column} '{one}' there, '{other}' in set "
                    f"'{images.name}'; {REMEDY}"
                )

"""The captions of the training set's images, as embed_training wrote them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.common.errors import UserError
from pipeline.common.finite import check_unit_norm
from pipeline.common.tables import read_table
from pipeline.embeddings.training_captions import (
    REMEDY,
    caption_faults,
    captions_file,
    schema,
)
from pipeline.images.image_set import IMAGES, ITEM_SCHEMA, ImageSet


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

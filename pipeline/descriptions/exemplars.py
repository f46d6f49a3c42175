"""Exemplar images: those of each class that a vision-language model is shown.

`data/exemplars/<name>.parquet` holds them as PNG files, so that describing needs neither the
image set nor a CLIP. `none` is in git, without a row: then the describe stage depends on no
model, and a change of the base model re-runs no description.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from pipeline.common import rows as table_rows
from pipeline.common.bounds import Count
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.common.tables import read_table
from pipeline.images.classes import ClassEntry

FOLDER = Path("data/exemplars")
NO_EXEMPLARS = "none"
PNG = b"\x89PNG\r\n\x1a\n"  # how such a file begins
MOST_TOGETHER = 64  # images in one message
SCHEMA = pa.schema(
    [
        ("class_id", pa.string()),
        ("rank", pa.int32()),
        ("image", pa.int32()),  # row of data/images/<set>/images.npy
        ("similarity", pa.float32()),  # cosine with the class's mean image feature
        ("png", pa.binary()),
    ]
)


def exemplar_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of a file of exemplars, of which `none` has none; see
    `pipeline.common.rows`."""
    if table.num_rows:
        yield from table_rows.complete(table)
    yield from table_rows.counted(table, "class_id", "rank")
    yield from table_rows.unique(table, ["image"])
    yield from table_rows.at_least(table, "image", 0)
    for row, png in enumerate(table["png"]):
        if not png.as_py().startswith(PNG):
            yield f"column 'png' holds no PNG file in row {row}"


class ImagesByNumber(Protocol):
    """Images that are read one by one, wherever they come from."""

    def __getitem__(self, number: int, /) -> np.ndarray: ...


class Exemplar(NamedTuple):
    """An image of a class as a PNG file, and its row of data/images/<set>/images.npy."""

    image: int
    png: bytes


class ExemplarParams(Section):
    """One entry of section `exemplars` of params.yaml, where every key is explained."""

    images_per_class: int | None = Field(ge=1, le=MOST_TOGETHER)
    candidates_per_class: Count | None


def to_columns(
    classes: Sequence[ClassEntry],
    images_of_classes: Sequence[Sequence[tuple[int, float]]],
    pixels: ImagesByNumber,
) -> dict[str, list[Any]]:
    """Columns of SCHEMA.

    Args:
        images_of_classes: per class (image number, similarity), best first.
        pixels: uint8 (N, 3, S, S), values 0..255.
    """
    rows = [
        (class_entry.class_id, rank, number, similarity, to_png(pixels[number]))
        for class_entry, class_images in zip(classes, images_of_classes, strict=True)
        for rank, (number, similarity) in enumerate(class_images)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA.names)
    return {name: list(column) for name, column in zip(SCHEMA.names, columns, strict=True)}


def to_png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 (3, S, S) pixels; the same pixels, the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(buffer, format="PNG")
    return buffer.getvalue()


def read_exemplars(
    name: str, classes: Sequence[ClassEntry], table: Sequence[ClassEntry], together: bool = True
) -> dict[str, list[Exemplar]]:
    """Class id -> its images, best first; empty for the set `none`.

    Args:
        table: the whole class table.
        together: a class's images are shown in one message.

    Raises:
        UserError: no such file, one of `classes` has no image in it (of `none` none has), or more
            than fit one message, or the class table lacks a class of it.
    """
    path = FOLDER / f"{name}.parquet"
    known = {class_entry.class_id for class_entry in table}
    images_of: dict[str, list[Exemplar]] = {}
    for row in read_table(path, SCHEMA, exemplar_faults).to_pylist():
        if row["class_id"] not in known:
            raise UserError(
                f"{path}: class '{row['class_id']}' is not in the class table; "
                f"run `dvc repro stages/dvc.yaml:exemplars@{name}`"
            )
        images_of.setdefault(row["class_id"], []).append(Exemplar(row["image"], row["png"]))
    missing = [
        class_entry.class_id for class_entry in classes if class_entry.class_id not in images_of
    ]
    if (images_of or name != NO_EXEMPLARS) and missing:
        raise UserError(
            f"{path}: no exemplar for class '{missing[0]}' ({len(missing)} classes in all); "
            f"run `dvc repro stages/dvc.yaml:exemplars@{name}`"
        )
    for class_entry in classes if together else ():
        count = len(images_of.get(class_entry.class_id, ()))
        if count > MOST_TOGETHER:
            raise UserError(
                f"{path}: class '{class_entry.class_id}' has {count} images, of which a message "
                f"takes at most {MOST_TOGETHER}; set exemplars.{name}.images_per_class, or "
                "describe.per_image: true"
            )
    return images_of

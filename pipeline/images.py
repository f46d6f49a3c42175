"""The packed image set: every image decoded once, then memory-mapped for good.

A set `<name>` is
    data/images/<name>/images.npy      uint8 (N, 3, S, S), RGB, values 0..255
    data/images/<name>/items.parquet   one row per image, in the order of images.npy
    data/classes/<name>.parquet        one row per class; row number = label
A class is identified by `class_id` (a wnid where there is one); `name` is for prompts and
people only and need not be unique.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.tables import read_table

IMAGES = Path("data/images")
CLASSES = Path("data/classes")
CLASS_SCHEMA = pa.schema([("label", pa.int32()), ("class_id", pa.string()), ("name", pa.string())])
ITEM_SCHEMA = pa.schema([("label", pa.int32()), ("source", pa.string()), ("caption", pa.string())])


@dataclass(frozen=True)
class ClassEntry:
    """A class: its identity and the display name that goes into prompts."""

    class_id: str
    name: str


@dataclass(frozen=True)
class Item:
    """An image to be: its label, where it comes from, and a caption if it has its own."""

    label: int
    source: str
    caption: str | None = None


@dataclass(frozen=True)
class ImageSource:
    """What a data set module hands to `prepare`.

    `decode(i)` gives item i as uint8 (3, size, size), RGB; it must be thread-safe and
    raise OSError, SyntaxError or ValueError on an unreadable image.
    """

    classes: Sequence[ClassEntry]
    items: Sequence[Item]
    size: int
    decode: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class ImageSet:
    """A packed set, opened.

    pixels: uint8 (N, 3, S, S) memory map; labels: int64 (N,); captions: N strings or None.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    captions: list[str | None]
    classes: list[ClassEntry]


def read_classes(name: str, folder: Path = CLASSES) -> list[ClassEntry]:
    """The class table of set `name`, in label order."""
    path = folder / f"{name}.parquet"
    rows = read_table(path, CLASS_SCHEMA).to_pylist()
    if [row["label"] for row in rows] != list(range(len(rows))):
        raise UserError(f"{path}: labels are not 0..{len(rows) - 1} in order")
    return [ClassEntry(row["class_id"], row["name"]) for row in rows]


def open_images(name: str) -> ImageSet:
    """Open set `name` without reading its pixels.

    Raises:
        UserError: a file is missing or broken, the row counts differ, or a label has no class.
    """
    folder = IMAGES / name
    try:
        pixels = np.load(folder / "images.npy", mmap_mode="r")
    except FileNotFoundError:
        raise UserError(f"{folder / 'images.npy'}: not found; run `dvc repro` first") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{folder / 'images.npy'}: not a packed image file: {error}") from None
    items = read_table(folder / "items.parquet", ITEM_SCHEMA)
    labels = items["label"].to_numpy().astype(np.int64)
    classes = read_classes(name)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != len(labels):
        raise UserError(
            f"{folder}: images.npy holds {pixels.dtype} {pixels.shape}, "
            f"items.parquet {len(labels)} rows; run `dvc repro -f prepare@{name}`"
        )
    check_labels(labels, len(classes), str(folder / "items.parquet"))
    return ImageSet(name, pixels, labels, items["caption"].to_pylist(), classes)


def check_labels(labels: np.ndarray, classes: int, where: str) -> None:
    """Raise UserError unless every label is in 0..classes-1."""
    bad = labels[(labels < 0) | (labels >= classes)]
    if len(bad):
        raise UserError(f"{where}: label {bad[0]} is out of range, there are {classes} classes")


def check_classes(images: ImageSet, key: str) -> None:
    """Raise UserError, naming the `key` of params.yaml that lists the set, unless there is
    anything to tell apart."""
    if len(images.classes) < 2:
        raise UserError(
            f"params.yaml: {key}: set '{images.name}' has {len(images.classes)} class; an attack "
            "needs at least 2 to tell apart, take the set out of the list"
        )

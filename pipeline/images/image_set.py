"""An image set as every later stage opens it: packed pixels, or streamed ones.

A set `<name>` is
    data/images/<name>/images.npy      packed: uint8 (N, 3, S, S), RGB, values 0..255
    data/images/<name>/files.parquet   streamed: where each image's bytes are below the data root
    data/images/<name>/items.parquet   one row per image, in that order
    data/images/<name>/summary.json    counts, what was converted or left out, a checksum
    data/classes/<name>.parquet        one row per class; row number = label
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from pipeline.common import rows
from pipeline.common.errors import UserError, one_line
from pipeline.common.tables import read_table
from pipeline.images.classes import ClassEntry, check_labels, read_classes
from pipeline.images.data_root import locate
from pipeline.images.decoding import Decoded, Encoded, Resize
from pipeline.images.set_summary import SUMMARY, read_summary
from pipeline.images.streaming import FILE_SCHEMA, Pixels, StreamedPixels, file_faults

IMAGES = Path("data/images")
PACKED, STREAMED = "images.npy", "files.parquet"
ITEM_SCHEMA = pa.schema([("label", pa.int32()), ("source", pa.string()), ("caption", pa.string())])


def item_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of items.parquet; see `pipeline.common.rows`."""
    yield from rows.complete(table, nullable=["caption"])
    yield from rows.at_least(table, "label", 0)


@dataclass(frozen=True)
class SourceImage:
    """One image of a source, before decoding: its label, where it comes from, and its caption."""

    label: int
    source: str
    caption: str | None = None


@dataclass(frozen=True)
class FileSource:
    """The files of a source whose images can be streamed: one per item, below `root` (as
    params.yaml names it), each decoded by `pipeline.images.decoding` with `resize`."""

    root: str
    files: Sequence[Encoded]
    resize: Resize


@dataclass(frozen=True)
class ImageSource:
    """What a data set module hands to `prepare`.

    `decode(i)` gives item i as uint8 (3, size, size), RGB; it must be thread-safe and
    raise OSError, SyntaxError or ValueError on an unreadable image. `templates` are the data
    set's own; `files` is None where images are not stored as files. For summary.json: `left_out`
    names the files and folders that are no part of the set, by kind; `notes` say what people should
    know of it, a line each. With `distractors` a class may be without images.
    """

    classes: Sequence[ClassEntry]
    items: Sequence[SourceImage]
    size: int
    decode: Callable[[int], Decoded]
    templates: Sequence[str] = ()
    files: FileSource | None = None
    stream: bool = False
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    distractors: bool = False


@dataclass(frozen=True)
class ImageSet:
    """An opened image set.

    pixels: uint8 (N, 3, S, S), a memory map or decoded at each access; labels: int64 (N,);
    captions: N strings or None.
    """

    name: str
    pixels: Pixels
    labels: np.ndarray
    captions: list[str | None]
    classes: list[ClassEntry]


def open_images(name: str) -> ImageSet:
    """Open set `name` without reading its pixels.

    Raises:
        UserError: a file is missing or broken, the files are not of one set, or a label has no
            class.
    """
    folder = IMAGES / name
    streamed = (folder / STREAMED).exists()
    pixels = _streamed(folder, name) if streamed else _packed(folder)
    items = read_table(folder / "items.parquet", ITEM_SCHEMA, item_faults)
    labels = items["label"].to_numpy().astype(np.int64)
    classes = read_classes(name)
    again = f"run `dvc repro -f stages/dvc.yaml:prepare@{name}`"
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != len(labels):
        raise UserError(
            f"{folder}: images.npy holds {pixels.dtype} {pixels.shape}, "
            f"items.parquet {len(labels)} rows; {again}"
        )
    check_labels(labels, len(classes), str(folder / "items.parquet"))
    summary, per_class = read_summary(folder), np.bincount(labels, minlength=len(classes))
    for what, stated, actual in (
        ("streamed", summary.streamed, streamed),
        ("images", summary.images, len(labels)),
        ("shape", (3, summary.size, summary.size), pixels.shape[1:]),
        ("classes", summary.classes, len(classes)),
        ("fewest images of a class", summary.images_per_class.minimum, per_class.min()),
        ("most images of a class", summary.images_per_class.maximum, per_class.max()),
    ):
        if stated != actual:
            raise UserError(f"{folder}: {what}: {SUMMARY} says {stated}, it is {actual}; {again}")
    return ImageSet(name, pixels, labels, items["caption"].to_pylist(), classes)


def checksum(name: str) -> str:
    """sha256 of the pixels of set `name`, or, where it is streamed, of the table of its files and
    how they are resized."""
    streamed = IMAGES / name / STREAMED
    if streamed.exists():
        return hashlib.sha256(streamed.read_bytes()).hexdigest()
    return read_summary(IMAGES / name).sha256


def content_files(name: str) -> list[Path]:
    """The files that define what set `name` holds, for fingerprints."""
    folder = IMAGES / name
    return [f for f in (folder / n for n in (PACKED, STREAMED, "items.parquet")) if f.exists()]


def _packed(folder: Path) -> np.ndarray:
    path = folder / PACKED
    try:
        pixels = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (ValueError, EOFError, OSError, OverflowError, MemoryError, RecursionError) as error:
        raise UserError(f"{path}: not a packed image file: {one_line(error)}") from None
    # no archive of arrays, no transposed one, and not a byte more than its header says
    if not isinstance(pixels, np.memmap) or not pixels.flags.c_contiguous:
        raise UserError(f"{path}: not a packed image file: not one array in C order")
    if path.stat().st_size != pixels.offset + pixels.nbytes:
        raise UserError(f"{path}: not a packed image file: longer than its header says")
    return pixels


def _streamed(folder: Path, name: str) -> StreamedPixels:
    path = folder / STREAMED
    files = read_table(path, FILE_SCHEMA, file_faults)
    metadata = files.schema.metadata or {}
    resize: Any = metadata.get(b"resize", b"").decode(errors="replace")
    size = metadata.get(b"size", b"")
    if b"root" not in metadata or resize not in get_args(Resize) or not size.isdigit():
        again = f"run `dvc repro -f stages/dvc.yaml:prepare@{name}`"
        raise UserError(f"{path}: not written by prepare; {again}")
    root = locate(metadata[b"root"].decode())
    if not root.is_dir():
        raise UserError(f"{root}: not found, the images of set '{name}' are streamed from there")
    return StreamedPixels(files, root, int(size), resize, name)


def check_classes(images: ImageSet, key: str) -> None:
    """Raise UserError, naming the `key` of params.yaml that lists the set, unless the set has at
    least two classes."""
    if len(images.classes) < 2:
        raise UserError(
            f"params.yaml: {key}: set '{images.name}' has {len(images.classes)} class; an attack "
            "needs at least 2 to tell apart, take the set out of the list"
        )


def check_name(name: str, where: str) -> None:
    """Raise UserError if a file's or folder's name is not UTF-8, as tables and ids must be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        readable_name = name.encode(errors="replace").decode()
        raise UserError(f"{where}: the name '{readable_name}' is not UTF-8; rename it") from None

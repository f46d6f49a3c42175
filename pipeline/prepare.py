"""Decode every image of a source once into the packed form of `pipeline.images`."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.atomic import replacing_directory
from pipeline.errors import UserError
from pipeline.images import CLASS_SCHEMA, ITEM_SCHEMA, ClassEntry, ImageSource, check_labels
from pipeline.progress import counter
from pipeline.tables import write_table

# what PIL raises on broken files
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
CHUNK = 256


def check_source(source: ImageSource, name: str) -> None:
    """Raise UserError on duplicate class ids, empty classes, or labels without a class."""
    repeated = [c for c, n in Counter(e.class_id for e in source.classes).items() if n > 1]
    if repeated:
        raise UserError(f"{name}: class id '{repeated[0]}' occurs more than once")
    labels = np.array([item.label for item in source.items], dtype=np.int64)
    check_labels(labels, len(source.classes), name)
    empty = sorted(set(range(len(source.classes))) - set(labels.tolist()))
    if empty:
        listed = ", ".join(source.classes[label].class_id for label in empty[:10])
        raise UserError(f"{name}: {len(empty)} classes have no image: {listed}")


def pack(source: ImageSource, name: str, images: Path, classes: Path) -> None:
    """Write `images`/{images.npy, items.parquet} and the class table `classes`, or nothing.

    Raises:
        UserError: the source is inconsistent, or images cannot be decoded (all are listed
            by count, the first ones by name).
    """
    check_source(source, name)
    shape = (len(source.items), 3, source.size, source.size)
    with replacing_directory(images) as folder:
        out = _allocate(folder / "images.npy", shape)
        broken = []
        with counter(f"prepare {name}", shape[0], "image") as bar:
            for index, result in _decoded(source):
                if isinstance(result, Exception):
                    broken.append(f"{source.items[index].source} ({result})")
                else:
                    out[index] = result
                bar.update()
        if broken:
            raise UserError(
                f"{name}: {len(broken)} of {shape[0]} images cannot be read: "
                f"{'; '.join(broken[:5])}{' ...' if len(broken) > 5 else ''}; "
                "replace or remove them"
            )
        out.flush()
        write_table(folder / "items.parquet", _item_columns(source), ITEM_SCHEMA)
        write_table(classes, class_columns(source.classes), CLASS_SCHEMA)


def class_columns(classes: Sequence[ClassEntry]) -> dict[str, list]:
    """Columns of CLASS_SCHEMA in label order."""
    return {
        "label": list(range(len(classes))),
        "class_id": [entry.class_id for entry in classes],
        "name": [entry.name for entry in classes],
    }


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """An .npy file to write through, its blocks reserved: a disk that fills up later would
    kill the process instead of raising."""
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return out


def _item_columns(source: ImageSource) -> dict[str, list]:
    return {
        "label": [item.label for item in source.items],
        "source": [item.source for item in source.items],
        "caption": [item.caption for item in source.items],
    }


def _decoded(source: ImageSource) -> Iterator[tuple[int, np.ndarray | Exception]]:
    """Items in order; decoding runs in threads (PIL frees the GIL), a chunk at a time."""

    def attempt(index: int) -> np.ndarray | Exception:
        try:
            return source.decode(index)
        except UNREADABLE as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(source.items), CHUNK):
            numbers = range(start, min(start + CHUNK, len(source.items)))
            yield from zip(numbers, pool.map(attempt, numbers), strict=True)

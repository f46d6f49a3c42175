"""Images that two sets share: what is validated on is neither trained on nor tested on.

An image is the same if its prepared pixels are, whatever file they come from: a second set of
the same photographs is found, a photograph that was cropped, or encoded anew, is not. Of two
streamed sets only images whose files have the same bytes are decoded and compared.

What is not seen: an image that was prepared at another size, or with another resizing where its
file is the same; a copy of the weights under another name, which has no table of the images.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.common import rows
from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, write_table
from pipeline.images.image_set import IMAGES, ITEM_SCHEMA, ImageSet
from pipeline.images.streaming import Pixels, StreamedPixels, depth, prefetch

CHUNK = 256  # images that are read at once
DIGEST = 16  # bytes
# of a model's folder: the images that its training was validated on
VALIDATION_IMAGES = "validation_images.parquet"
SCHEMA = pa.schema(
    [("dataset", pa.string()), ("source", pa.string()), ("pixels", pa.binary(DIGEST))]
)
Digests = Mapping[bytes, int]  # of an image's pixels -> its number in the set


def digests(pixels: Pixels, numbers: np.ndarray | None = None) -> Iterator[tuple[bytes, int]]:
    """(digest, image number) of the images `numbers`; None: of all. BLAKE2b of the uint8 pixels."""
    chosen = np.arange(len(pixels)) if numbers is None else numbers
    parts = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
    read = prefetch(lambda part: np.array(pixels[part]), parts, depth(pixels))
    for part, images in zip(parts, read, strict=True):
        for number, image in zip(part.tolist(), images, strict=True):
            yield hashlib.blake2b(image.tobytes(), digest_size=DIGEST).digest(), number


def first_numbers(numbered: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
    """Of (digest, image number) pairs each digest's first number, in the order of the pairs."""
    firsts: dict[bytes, int] = {}
    for digest, number in numbered:
        firsts.setdefault(digest, number)
    return firsts


def shared(known: Digests, pixels: Pixels, numbers: np.ndarray) -> dict[bytes, int]:
    """The digests of the images `numbers` that are `known`, in their order, each with the number
    of the first image that has it."""
    return first_numbers(pair for pair in digests(pixels, numbers) if pair[0] in known)


def candidates(pixels: Pixels, others: Pixels) -> np.ndarray:
    """Numbers, int64 in rising order, of the images that may be among `others`: of two streamed
    sets those whose files have the length and checksum of another's, else all."""
    if not isinstance(pixels, StreamedPixels) or not isinstance(others, StreamedPixels):
        return np.arange(len(pixels))
    return np.flatnonzero(np.isin(_file_keys(pixels), _file_keys(others)))


def _file_keys(pixels: StreamedPixels) -> np.ndarray:
    """int64 (N,), equal for equal files: length and CRC-32 in one number."""
    return (pixels.files["length"].astype(np.int64) << 32) | pixels.files["crc32"]


def refusal(key: str, first: str, second: str, role: str, count: int, pair: tuple[str, str]) -> str:
    """One line on the images that two sets share.

    Args:
        key: of params.yaml, that is to be changed; first, second: the sets; role: what the second
            is to the model; count: of shared images, equal ones of a set counting once; pair: one
            image's source in each.
    """
    images, them = ("1 image", "it") if count == 1 else (f"{count:,} images", "them")
    return (
        f"params.yaml: {key}: set '{first}' shares {images} with set '{second}', {role}: "
        f"{pair[0]} is {pair[1]} there; choose a set without {them}"
    )


def source_of(name: str, number: int) -> str:
    """Where image `number` of set `name` comes from, as its items.parquet says."""
    return str(read_table(IMAGES / name / "items.parquet", ITEM_SCHEMA)["source"][number].as_py())


def write_validation_images(folder: Path, images: ImageSet) -> None:
    """Write what `check_not_validated` reads: a row for each image of the set."""
    items = read_table(IMAGES / images.name / "items.parquet", ITEM_SCHEMA)
    columns = {
        "dataset": [images.name] * len(items),
        "source": items["source"].to_pylist(),
        "pixels": [digest for digest, _ in digests(images.pixels)],
    }
    write_table(folder / VALIDATION_IMAGES, columns, SCHEMA, rows.complete)


def check_not_validated(folder: Path, images: ImageSet, numbers: np.ndarray, key: str) -> None:
    """Check that the training of the model in `folder` was validated on none of the images
    `numbers` of a set that is to be evaluated, which `key` of params.yaml names.

    Raises:
        UserError: it was, or the table of those images is damaged.
    """
    path = folder / VALIDATION_IMAGES
    if not path.exists():
        return
    table = read_table(path, SCHEMA, rows.complete)
    rows_of = first_numbers((d, row) for row, d in enumerate(table["pixels"].to_pylist()))
    if numbers_of := shared(rows_of, images.pixels, numbers):
        digest, number = next(iter(numbers_of.items()))
        validated = table.slice(rows_of[digest], 1).to_pylist()[0]
        sources = source_of(images.name, number), validated["source"]
        told = images.name, validated["dataset"], "which the training of the model was validated on"
        raise UserError(refusal(key, *told, len(numbers_of), sources))

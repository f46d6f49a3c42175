"""Pixels decoded on access, behind the interface of a packed array.

ImageNet's 1.28 million training images would take 193 GB packed; as files they take 138 GB
that are there anyway. A streamed set keeps a table of where each image's bytes are stored.
"""

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.common import rows
from pipeline.common.errors import UserError
from pipeline.images.decoding import UNREADABLE, Encoded, Resize, decode_bytes, read_bytes, reason

T = TypeVar("T")
N = TypeVar("N")
FILE_SCHEMA = pa.schema(
    [("path", pa.string()), ("offset", pa.int64()), ("length", pa.int64()), ("crc32", pa.int64())]
)  # crc32: of the bytes, so that a file that was replaced is noticed, whatever its length


def file_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of files.parquet; see `pipeline.common.rows`."""
    yield from rows.complete(table)
    for column, least in (("offset", 0), ("length", 1), ("crc32", 0)):
        yield from rows.at_least(table, column, least)


STREAMED_DEPTH = 4  # batches of a streamed set that are decoded ahead


def workers() -> int:
    """Threads that decode: as many as this process may use cores (PIL frees the GIL)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class StreamedPixels:
    """`ImageSet.pixels` of a streamed set: uint8 (N, 3, S, S), decoded at each access.

    Args:
        files: a table of FILE_SCHEMA, paths relative to `root`.
        name: the set, for messages.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, files: pa.Table, root: Path, size: int, resize: Resize, name: str) -> None:
        self.files = {column: files[column].to_numpy() for column in FILE_SCHEMA.names}
        self.root, self.name = root, name
        self.size, self.resize = size, resize
        self.shape = (files.num_rows, 3, size, size)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """One image (3, S, S) for an integer; (n, 3, S, S) for a slice or integer array.

        Raises:
            UserError: a file is gone, or is not what it was when the set was prepared.
        """
        if isinstance(key, int | np.integer):
            return self._decode(int(key))
        numbers = np.arange(len(self))[key]
        out = np.empty((len(numbers), *self.shape[1:]), dtype=np.uint8)
        for row, pixels in enumerate(self._pool.map(self._decode, numbers.tolist())):
            out[row] = pixels
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(workers(), thread_name_prefix="decode")

    def _decode(self, number: int) -> np.ndarray:
        path, offset, length, crc32 = (column[number] for column in self.files.values())
        path = self.root / path
        try:
            content = read_bytes(Encoded(path, int(offset), int(length)))
            if zlib.crc32(content) != crc32:
                raise OSError("other bytes")
            return decode_bytes(content, self.size, self.resize).pixels
        except UNREADABLE as error:
            raise UserError(
                f"{path}: {reason(error)}, unlike when set '{self.name}' was prepared; "
                f"restore it or run `dvc repro -f stages/dvc.yaml:prepare@{self.name}`"
            ) from None


Pixels = np.ndarray | StreamedPixels  # uint8 (N, 3, S, S), both indexed alike


def is_streamed(pixels: Pixels) -> bool:
    """Whether images are decoded at each access; those of an array are in memory or mapped."""
    return isinstance(pixels, StreamedPixels)


def depth(pixels: Pixels) -> int:
    """How many batches to read ahead: of a streamed set several, so that its decoding threads
    go on with the next batch while the last images of one are decoded; of an array one."""
    return STREAMED_DEPTH if is_streamed(pixels) else 1


def prefetch(read: Callable[[N], T], numbers: Iterable[N], depth: int = 1) -> Iterator[T]:
    """`map(read, numbers)` that reads the next `depth` items in threads while one is used.

    `read` has to copy: a slice of a memory map is a view, of which nothing is read yet. An
    exception of `read` is raised where its value would have been yielded; after it, or when the
    consumer stops early, reads that have not started are cancelled.
    """
    pool = ThreadPoolExecutor(depth, thread_name_prefix="prefetch")
    try:
        upcoming = iter(numbers)
        waiting = deque(pool.submit(read, number) for number in islice(upcoming, depth))
        while waiting:
            oldest = waiting.popleft()
            value = oldest.result()
            waiting.extend(pool.submit(read, number) for number in islice(upcoming, 1))
            yield value
    finally:
        pool.shutdown(cancel_futures=True)

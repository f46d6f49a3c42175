"""The files that hold a set's pixels: images.npy, or the table of a streamed set's files."""

import hashlib
import os
import shutil
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.progress import counter
from pipeline.common.tables import write_table
from pipeline.images import image_set as layout
from pipeline.images.data_root import locate
from pipeline.images.decoding import Encoded, read_bytes, reason
from pipeline.images.image_set import FileSource, ImageSource
from pipeline.images.streaming import FILE_SCHEMA, file_faults, workers

CHUNK = 256  # images whose pixels or bytes are in memory before they are written


def working_file(source: ImageSource, state: Path, new: bool) -> np.memmap:
    """The .npy file to write through, its blocks reserved: a disk that fills up later would
    kill the process instead of raising."""
    path = state / layout.PACKED
    if not new:
        return np.lib.format.open_memmap(path, mode="r+")
    shape = (len(source.items), 3, source.size, source.size)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return out


def write_pixels(source: ImageSource, numbers: Sequence[int], state: Path, folder: Path) -> str:
    """images.npy without the dropped images, or files.parquet; the sha256 of the pixels, or of
    the streamed files' bytes."""
    if source.stream:
        assert source.files is not None
        return _write_files(source, source.files, numbers, folder)
    path = state / layout.PACKED
    if len(numbers) < len(source.items):
        _compact(path, numbers)
    target = folder / layout.PACKED
    shutil.move(path, target)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compact(path: Path, numbers: Sequence[int]) -> None:
    """Move images `numbers` (rising) to the front of the file, in place; numpy's header has room
    for any smaller count."""
    out = np.lib.format.open_memmap(path, mode="r+")
    shape = (len(numbers), *out.shape[1:])
    for row, number in enumerate(numbers):
        if row != number:
            out[row] = out[number]
    data_offset, image_bytes = out.offset, out[0].nbytes
    out.flush()
    del out
    with path.open("r+b") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        assert file.tell() == data_offset
        file.truncate(data_offset + len(numbers) * image_bytes)


def _read(encoded: Encoded) -> bytes:
    try:
        return read_bytes(encoded)
    except OSError as error:
        raise UserError(
            f"{encoded.path}: {reason(error)}, though it could be decoded before; run again"
        ) from None


def _write_files(
    source: ImageSource, files: FileSource, numbers: Sequence[int], folder: Path
) -> str:
    """files.parquet; the sha256 over all files' bytes, in order."""
    root, digest = locate(files.root), hashlib.sha256()
    columns: dict[str, list[Any]] = {name: [] for name in FILE_SCHEMA.names}
    with ThreadPoolExecutor(workers()) as pool, counter("checksums", len(numbers), "image") as bar:
        for start in range(0, len(numbers), CHUNK):
            encoded_files = [files.files[number] for number in numbers[start : start + CHUNK]]
            for encoded, content in zip(encoded_files, pool.map(_read, encoded_files), strict=True):
                bar.update()
                digest.update(content)
                path = encoded.path.relative_to(root).as_posix()
                row = (path, encoded.offset, len(content), zlib.crc32(content))
                for key, value in zip(columns, row, strict=True):
                    columns[key].append(value)
    metadata = {"root": files.root, "size": str(source.size), "resize": files.resize}
    schema = FILE_SCHEMA.with_metadata(metadata)
    write_table(folder / layout.STREAMED, columns, schema, file_faults)
    return digest.hexdigest()

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

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError
from pipeline.common.progress import counter
from pipeline.common.storage import naming_target
from pipeline.common.tables import write_table
from pipeline.images import image_set as layout
from pipeline.images.data_root import locate
from pipeline.images.decoding import Encoded, read_bytes, reason
from pipeline.images.image_set import FileSource, ImageSource
from pipeline.images.streaming import FILE_SCHEMA, file_faults, workers

COMPACTED = "compacted"  # in the resume state: how many rows have moved to the front
CHUNK = 256  # images whose pixels or bytes are in memory before they are written


def working_file(source: ImageSource, state: Path, new: bool) -> np.memmap:
    """The .npy file to write through, its blocks reserved: a disk that fills up later would
    kill the process instead of raising.

    Raises:
        UserError: the disk has no room for it.
    """
    path = state / layout.PACKED
    if not new:
        _unshare(path)
        return np.lib.format.open_memmap(path, mode="r+")
    (state / COMPACTED).unlink(missing_ok=True)
    shape = (len(source.items), 3, source.size, source.size)
    with naming_target(path, path):
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return out


def compacting(state: Path) -> bool:
    """Whether an interrupted run had begun to close the gaps that dropped images leave."""
    return (state / COMPACTED).exists()


def write_pixels(source: ImageSource, numbers: Sequence[int], state: Path, folder: Path) -> str:
    """images.npy without the dropped images, or files.parquet; the sha256 of the pixels, or of
    the streamed files' bytes.

    images.npy is a hard link to the file in `state`, so that a run killed at any moment has its
    pixels there; a copy, where the two are on different file systems.
    """
    if source.stream:
        assert source.files is not None
        return _write_files(source, source.files, numbers, folder)
    path = state / layout.PACKED
    if len(numbers) < len(source.items):
        _compact(path, numbers)
    try:
        os.link(path, folder / layout.PACKED)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(path, folder / layout.PACKED)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unshare(path: Path) -> None:
    """Write through a copy if an output of a run that was killed after its last rename is a link
    to the file."""
    if path.stat().st_nlink > 1:
        with replacing_file(path) as partial:
            shutil.copyfile(path, partial)


def _compact(path: Path, numbers: Sequence[int]) -> None:
    """Move images `numbers` (rising) to the front of the file, in place; numpy's header has room
    for any smaller count.

    Goes on where a killed run stopped: COMPACTED counts the rows in place. A row's source is
    overwritten only by later rows, so that the row that was being moved can be moved again. For
    example images 0, 2 and 3 of 4: row 1 is taken from 2, then row 2 from 3.
    """
    out = np.lib.format.open_memmap(path, mode="r+")
    moved = _counter(path.with_name(COMPACTED))
    if len(out) > len(numbers):
        for row in range(int(moved[0]), len(numbers)):
            if row != numbers[row]:
                out[row] = out[numbers[row]]
            moved[0] = row + 1
    data_offset, image_bytes, shape = out.offset, out[0].nbytes, (len(numbers), *out.shape[1:])
    out.flush()
    del out
    with path.open("r+b") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        assert file.tell() == data_offset
        file.truncate(data_offset + len(numbers) * image_bytes)


def _counter(path: Path) -> np.memmap:
    """An int64 in a file of its own, 0 when it is new; what is stored outlives the process."""
    if not path.exists():
        with replacing_file(path) as partial:
            partial.write_bytes(bytes(8))
    return np.memmap(path, dtype=np.int64, mode="r+", shape=(1,))


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

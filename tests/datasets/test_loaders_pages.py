"""PatchCamelyon as people get it: a page of HTML under the archive's name; and what `prepare` holds
in memory of a set that is larger."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pipeline.images.classes import CLASSES, ClassEntry
from pipeline.images.decoding import Decoded
from pipeline.images.image_set import IMAGES, ImageSource, SourceImage, open_images
from pipeline.prepare.pack import pack
from tests.support.dataset_fixtures.base import not_opened, refused

PAGE = b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>"
FILE = "camelyonpatch_level_2_split_test_x.h5"


def nothing_written() -> bool:
    return not [path for path in Path("data").rglob("*") if path.is_file()]


def test_a_page_under_the_name_of_the_archive_is_one_line(data_root, write_dataset) -> None:
    miniature = write_dataset("pcam")
    (data_root / "pcam" / FILE).unlink()
    (data_root / "pcam" / f"{FILE}.gz").write_bytes(PAGE)
    message = not_opened(miniature.source)
    assert FILE in message
    assert "is missing" in message
    assert nothing_written()


def test_a_page_under_the_name_of_the_file_is_one_line(data_root, write_dataset) -> None:
    miniature = write_dataset("pcam")
    (data_root / "pcam" / FILE).write_bytes(PAGE)
    message = refused(miniature)
    assert message.startswith(f"{data_root}: PCAM cannot be read: ")
    assert message.endswith("extract the archive again")
    assert nothing_written()


def packed(count: int, name: str) -> int:
    """Pack so many images as set `name`; the most bytes that were allocated meanwhile."""
    side = 48

    def decode(index: int) -> Decoded:
        return Decoded(np.full((3, side, side), index % 251, dtype=np.uint8))

    items = [SourceImage(number % 2, f"x/{number}") for number in range(count)]
    source = ImageSource([ClassEntry(i, i) for i in "ab"], items, side, decode)
    tracemalloc.start()
    try:
        pack(source, name, IMAGES / name, CLASSES / f"{name}.parquet")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("data_root")
def test_what_prepare_holds_in_memory_does_not_grow_with_the_set() -> None:
    packed(4, "first")  # what is imported at the first use does not count
    peaks = {count: packed(count, f"s{count}") for count in (1500, 3000)}
    assert len(open_images("s3000").pixels) == 3000
    assert open_images("s1500").pixels.nbytes > 10e6
    assert max(peaks.values()) < 6e6

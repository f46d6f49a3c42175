"""An interrupted prepare goes on where it stopped, and ends with the same bytes."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.datasets import imagefolder
from pipeline.images.classes import CLASSES
from pipeline.images.decoding import Decoded
from pipeline.images.image_set import IMAGES, ImageSource, open_images
from pipeline.prepare import pack as prepare
from tests.conftest import SIZE, folder_params
from tests.support.dataset_fixtures import WRITERS, enter_project, open_miniature, open_set
from tests.support.dataset_fixtures.base import noise
from tests.support.dataset_fixtures.foldered import WNIDS, imagenet_r

TOTAL = 4 * len(WNIDS)
PICTURE = Image.fromarray(noise(7, 30, 40))
Files = dict[str, bytes]


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images in each of four classes, the third one CMYK; a resume point every two."""
    monkeypatch.setattr(prepare, "CHUNK", 2)
    monkeypatch.setattr(prepare, "SAVE_EVERY", 1)
    folder = enter_project(tmp_path, monkeypatch)
    imagenet_r(folder, monkeypatch)
    for number, wnid in enumerate(WNIDS):
        for extra in ("x", "y"):
            picture = Image.fromarray(noise(50 + number, 30, 40))
            picture.convert("CMYK").save(folder / "imagenet-r" / wnid / f"{extra}.jpg")
    return folder


class Counted:
    """A source that notes which images are decoded, and is interrupted at one of them.

    Args:
        times: how often that image is decoded before.
    """

    def __init__(self, source: ImageSource, at: int | None = None, times: int = 0) -> None:
        self.numbers, self.at, self.times = list[int](), at, times
        self.original = source.decode
        self.source = replace(source, decode=self.decode)

    def decode(self, index: int) -> Decoded:
        if index == self.at and self.numbers.count(index) == self.times:
            raise KeyboardInterrupt
        self.numbers.append(index)
        return self.original(index)


def source_of(stream: bool = False) -> ImageSource:
    return open_set("imagenet_r", size=SIZE, resize="stretch", stream=stream)


def pack(source: ImageSource, drop: bool = False) -> Files:
    """Prepare set "s"; all files that prepare wrote."""
    mode = "drop" if drop else "error"
    prepare.pack(source, "s", IMAGES / "s", CLASSES / "s.parquet", mode)
    return outputs()


def outputs() -> Files:
    return {str(p): p.read_bytes() for p in sorted(Path("data").rglob("*")) if p.is_file()}


def states() -> list[Path]:
    return [path for path in Path(".scratch").glob("prepare-*") if path.is_dir()]


def uninterrupted(source: ImageSource, drop: bool = False) -> Files:
    """What an uninterrupted run writes, which then is forgotten."""
    files = pack(source, drop)
    assert len(files) == 4
    shutil.rmtree("data")
    assert not states()
    return files


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("at", [0, 1, 9, TOTAL - 1])
def test_an_interrupted_run_decodes_only_the_rest(data_root: Path, at: int, stream: bool) -> None:
    expected = uninterrupted(source_of(stream))
    first = Counted(source_of(stream), at)
    with pytest.raises(KeyboardInterrupt):
        pack(first.source)
    assert outputs() == {}
    again = Counted(source_of(stream))
    assert pack(again.source) == expected
    assert sorted(again.numbers) == list(range(at - at % 2, TOTAL))
    assert not states()


def test_two_interruptions(data_root: Path) -> None:
    expected = uninterrupted(source_of())
    for at in (5, 11):
        with pytest.raises(KeyboardInterrupt):
            pack(Counted(source_of(), at).source)
    last = Counted(source_of())
    assert pack(last.source) == expected
    assert sorted(last.numbers) == list(range(10, TOTAL))


KILLED = """
import os, sys
from pathlib import Path
from pipeline.prepare import pack as prepare
from pipeline.datasets import imagefolder
prepare.CHUNK, prepare.SAVE_EVERY = 2, 1
params = imagefolder.Params(
    source="imagefolder", root="imagenet-r", size=16, resize="stretch", names=None, classes=None,
    images_per_class=None, skip=0,
)
source, numbers = imagefolder.open_source(params), []
decode, at = source.decode, int(sys.argv[1])
def counted(index):
    if index == at:
        os._exit(9)
    numbers.append(index)
    return decode(index)
object.__setattr__(source, "decode", counted)
prepare.pack(source, "s", Path("data/images/s"), Path("data/classes/s.parquet"))
print(min(numbers), len(numbers))
"""


def test_a_killed_process_leaves_a_state_that_the_next_one_takes_up(data_root: Path) -> None:
    """Without any Python clean-up, as the kernel kills."""
    folder = imagefolder.open_source(folder_params(Path("imagenet-r")))
    expected = uninterrupted(folder)

    def run(at: int) -> subprocess.CompletedProcess[str]:
        code = [sys.executable, "-c", KILLED, str(at)]
        return subprocess.run(code, capture_output=True, text=True)

    assert run(9).returncode == 9
    assert outputs() == {}
    assert len(states()) == 1
    done = run(-1)
    assert done.stdout.split() == ["8", str(TOTAL - 8)], done.stderr
    assert outputs() == expected


def test_after_an_error_only_the_mended_file_is_decoded(data_root: Path) -> None:
    """What users do: read the message, replace the file, run again."""
    broken = data_root / source_of().items[6].source
    content = broken.read_bytes()
    expected = uninterrupted(source_of())
    broken.write_bytes(content[:100])
    with pytest.raises(UserError, match=f"1 of {TOTAL} images cannot be read: imagenet-r/"):
        pack(source_of())
    again = Counted(source_of())
    with pytest.raises(UserError, match="cannot be read"):
        pack(again.source)
    assert again.numbers == [6]
    broken.write_bytes(content)
    mended = Counted(source_of())
    assert pack(mended.source) == expected
    assert mended.numbers == [6]


def test_after_an_error_drop_decodes_only_what_failed(data_root: Path) -> None:
    (data_root / source_of().items[6].source).write_bytes(b"")
    expected = uninterrupted(source_of(), drop=True)
    with pytest.raises(UserError):
        pack(source_of())
    dropping = Counted(source_of())
    assert pack(dropping.source, drop=True) == expected
    assert dropping.numbers == [6]
    assert len(open_images("s").pixels) == TOTAL - 1


def test_an_error_in_an_interrupted_run_is_not_forgotten(data_root: Path) -> None:
    (data_root / source_of().items[1].source).write_bytes(b"")
    with pytest.raises(KeyboardInterrupt):
        pack(Counted(source_of(), 9).source)
    again = Counted(source_of())
    with pytest.raises(UserError, match=r"x?\.jpg \(empty file\)"):
        pack(again.source)
    assert sorted(again.numbers) == [1, *range(8, TOTAL)]


@pytest.mark.parametrize("step", ["write_classes", "summarise"])
@pytest.mark.parametrize("drop", [False, True])
def test_a_disk_that_is_full_at_the_end_leaves_no_half_consumed_state(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, step: str, drop: bool
) -> None:
    """The pixels have been moved, or closed up, by then: the next run must not take them for
    those of all images."""
    if drop:
        (data_root / source_of().items[2].source).write_bytes(b"")
    expected = uninterrupted(source_of(), drop)
    with monkeypatch.context() as patch:
        patch.setattr(prepare, step, full_disk)
        with pytest.raises(UserError, match="No space left"):
            pack(source_of(), drop)
    assert pack(source_of(), drop) == expected
    assert open_images("s").labels.tolist() == [k // 4 for k in range(TOTAL) if k != 2 or not drop]


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("change", ["size", "resize", "classes", "images_per_class"])
def test_another_set_takes_up_nothing(data_root: Path, change: str) -> None:
    """Params that change the pixels or the images."""
    values = {"size": 24, "resize": "crop", "classes": list(WNIDS)[::-1], "images_per_class": 2}
    base = {"size": SIZE, "resize": "stretch"}
    with pytest.raises(KeyboardInterrupt):
        pack(Counted(open_set("imagenet_r", **base), 9).source)
    other = Counted(open_set("imagenet_r", **base | {change: values[change]}))
    pack(other.source)
    assert sorted(other.numbers) == list(range(len(other.source.items)))


@pytest.mark.parametrize("change", ["resize", "root"])
def test_an_array_set_takes_up_only_its_own_pixels(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Its images have the same names, whatever the preprocessing and whatever copy they are of."""
    miniature = WRITERS["stl10"](data_root, monkeypatch)
    before = open_miniature(miniature, size=24, resize="stretch")
    with pytest.raises(KeyboardInterrupt):
        pack(Counted(before, 9, times=1).source)
    assert len(states()) == 1
    if change == "root":
        folder = data_root / "stl10_binary"
        pixels = np.fromfile(folder / "test_X.bin", dtype=np.uint8)
        (255 - pixels).tofile(folder / "test_X.bin")
        monkeypatch.setattr("torchvision.datasets.stl10.check_integrity", lambda *_: True)
    after = open_miniature(miniature, size=24, resize="crop" if change == "resize" else "stretch")
    pack(after)
    pixels = np.stack([after.decode(n).pixels for n in range(len(after.items))])
    np.testing.assert_array_equal(open_images("s").pixels, pixels)
    assert (pixels[0] != before.decode(0).pixels).any()


def test_an_array_set_does_take_up_its_own(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    miniature = WRITERS["cifar10"](data_root, monkeypatch)
    expected = uninterrupted(open_miniature(miniature, size=SIZE))
    with pytest.raises(KeyboardInterrupt):
        pack(Counted(open_miniature(miniature, size=SIZE), 11, times=1).source)
    assert len(states()) == 1
    again = Counted(open_miniature(miniature, size=SIZE))
    assert pack(again.source) == expected
    assert again.numbers == [*range(12), 10, 11]  # a look at what it is, then the rest


def test_two_processes_do_not_pack_the_same_set(data_root: Path) -> None:
    class Nested(Counted):
        def decode(self, index: int) -> Decoded:
            with pytest.raises(UserError, match="another process is running this very prepare"):
                pack(source_of())
            return super().decode(index)

    nested = Nested(source_of())
    pack(nested.source)
    assert len(nested.numbers) == TOTAL

"""`stream: true`: the same pixels as packed, from the files, which have to stay as they were."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.clip import model as clip
from pipeline.clip.folders import BASE_MODEL, MODEL
from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.tables import write_table
from pipeline.datasets import imagefolder
from pipeline.images.classes import CLASSES
from pipeline.images.image_set import IMAGES, ImageSet, checksum, open_images
from pipeline.images.streaming import StreamedPixels
from pipeline.prepare import pack as prepare
from pipeline.prepare.pack import pack
from stages import evaluate, exemplars
from tests.conftest import SIZE, folder_params
from tests.support.dataset_fixtures import WRITERS, enter_project, open_miniature, open_set
from tests.support.dataset_fixtures.base import noise
from tests.support.dataset_fixtures.foldered import WNIDS, imagenet_r
from tests.support.tiny_project import tiny_project, write_params
from tests.support.trainable import train

FOLDER = IMAGES / "s"


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = enter_project(tmp_path, monkeypatch)
    imagenet_r(folder, monkeypatch)
    return folder


def prepared(name: str, stream: bool, drop: bool = False, **changes: Any) -> ImageSet:
    values = {"size": SIZE, "resize": "crop", "stream": stream} | changes
    mode: Any = "drop" if drop else "error"
    source = open_set("imagenet_r", **values)
    pack(source, name, IMAGES / name, CLASSES / f"{name}.parquet", mode)
    return open_images(name)


@pytest.fixture
def both(data_root: Path) -> tuple[np.ndarray, StreamedPixels]:
    """The same set packed and streamed; the streamed one is "s"."""
    packed, streamed = prepared("packed", False).pixels, prepared("s", True).pixels
    assert isinstance(packed, np.memmap)
    assert isinstance(streamed, StreamedPixels)
    return np.asarray(packed), streamed


KEYS: dict[str, Any] = {
    "an integer": 3,
    "numpy's integer": np.int64(5),
    "from the end": -1,
    "a slice": slice(2, 5),
    "an open slice": slice(5, None),
    "a step": slice(None, None, -2),
    "an empty slice": slice(3, 3),
    "an array, with repetition": np.array([7, 0, 3, 3]),
    "a list": [1, 6],
    "a mask": np.arange(8) % 3 == 0,
    "no number at all": np.array([], dtype=np.int64),
}


@pytest.mark.parametrize("key", KEYS)
def test_streamed_pixels_are_indexed_like_packed_ones(both, key: str) -> None:
    packed, streamed = both
    batch = streamed[KEYS[key]]
    assert batch.dtype == np.uint8
    assert batch.shape == packed[KEYS[key]].shape
    np.testing.assert_array_equal(batch, packed[KEYS[key]])


def test_streamed_pixels_look_like_an_array(both) -> None:
    packed, streamed = both
    assert (len(streamed), streamed.shape, streamed.dtype, streamed.ndim) == (
        len(packed), packed.shape, packed.dtype, packed.ndim
    )  # fmt: skip
    np.testing.assert_array_equal(np.asarray(streamed), packed)
    as_float = np.asarray(streamed, dtype=np.float32)
    assert as_float.dtype == np.float32
    np.testing.assert_array_equal(as_float, packed)
    for number in (len(packed), -len(packed) - 1):
        with pytest.raises(IndexError):
            streamed[number]


def test_everything_else_is_as_packed(both) -> None:
    packed, streamed = open_images("packed"), open_images("s")
    np.testing.assert_array_equal(packed.labels, streamed.labels)
    assert packed.classes == streamed.classes
    one, other = IMAGES / "packed/items.parquet", FOLDER / "items.parquet"
    assert one.read_bytes() == other.read_bytes()
    assert {path.name for path in FOLDER.iterdir()} == {
        "files.parquet", "items.parquet", "summary.json"
    }  # fmt: skip


def test_the_checksums_are_those_of_the_pixels_and_of_the_files(data_root: Path, both) -> None:
    summaries = [json.loads((IMAGES / n / "summary.json").read_text()) for n in ("packed", "s")]
    array = (IMAGES / "packed/images.npy").read_bytes()
    sources = pq.read_table(FOLDER / "items.parquet")["source"].to_pylist()
    files = b"".join((data_root / source).read_bytes() for source in sources)
    assert summaries[0]["sha256"] == hashlib.sha256(array).hexdigest()
    assert summaries[1]["sha256"] == hashlib.sha256(files).hexdigest()
    assert [summary["streamed"] for summary in summaries] == [False, True]
    varying = {"sha256": 0, "streamed": 0}
    assert summaries[0] | varying == summaries[1] | varying


def test_a_streamed_set_that_is_resized_otherwise_has_another_checksum(
    data_root: Path, both
) -> None:
    cropped, first = both[1][:], checksum("s")
    stretched = prepared("s", True, resize="stretch").pixels[:]
    assert not np.array_equal(cropped, stretched)
    assert checksum("s") != first
    prepared("s", True)
    assert checksum("s") == first
    whole = hashlib.sha256((IMAGES / "packed/images.npy").read_bytes()).hexdigest()
    assert checksum("packed") == whole


def test_no_path_of_this_machine_is_in_the_outputs(data_root: Path, both) -> None:
    """The root is written as params.yaml names it, so the data may lie elsewhere elsewhere."""
    written = [pq.read_table(FOLDER / name) for name in ("files.parquet", "items.parquet")]
    text = str([table.to_pylist() for table in written]) + str(written[0].schema.metadata)
    assert str(data_root) not in text + (FOLDER / "summary.json").read_text()


def test_the_data_may_move(data_root: Path, both, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, _ = both
    data_root.rename(data_root.parent / "moved")
    with pytest.raises(UserError) as caught:
        open_images("s")
    message = str(caught.value)
    assert message == f"{data_root}: not found, the images of set 's' are streamed from there"
    monkeypatch.setenv("SAFT_DATA", str(data_root.parent / "moved"))
    np.testing.assert_array_equal(np.asarray(open_images("s").pixels), packed)


def damages(content: bytes) -> dict[str, bytes | None]:
    """What may happen to a file after prepare; the replacement has its length."""
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    other = Image.fromarray(noise(99, 200, 200))
    small = as_jpeg(Image.fromarray(noise(99, 8, 8)).convert("L"))  # decodes, whatever follows it
    return {
        "removed": None,
        "emptied": b"",
        "cut off": content[:-20],
        "one bit": bytes(flipped),
        "replaced by a text": b"x" * len(content),
        "replaced by a larger image": as_jpeg(other),
        "replaced by an image of the same length": small.ljust(len(content), b"\0"),
    }


def as_jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("damage", damages(b"." * 99))
def test_a_file_that_changed_since_is_one_line_that_names_it(
    data_root: Path, both, damage: str
) -> None:
    packed, _ = both
    source = pq.read_table(FOLDER / "items.parquet")["source"].to_pylist()[4]
    content = damages((data_root / source).read_bytes())[damage]
    before = (data_root / source).stat().st_size
    (data_root / source).unlink()
    if damage.endswith("same length"):
        assert content is not None
        assert len(content) == before
    if content is not None:
        (data_root / source).write_bytes(content)
    pixels = open_images("s").pixels
    for key in (4, slice(None), np.array([4])):
        with pytest.raises(UserError) as caught:
            pixels[key]
        message = str(caught.value)
        assert message.startswith(f"{data_root / source}: ")
        assert (
            "unlike when set 's' was prepared; restore it or run `dvc repro -f stages/dvc.yaml:pre"
            in message
        )
        assert "\n" not in message
    np.testing.assert_array_equal(pixels[:4], packed[:4])  # the others are still there


def test_images_replaced_in_time_are_found_by_prepare(data_root: Path, both) -> None:
    """Another prepare takes the files as they are now."""
    source = data_root / pq.read_table(FOLDER / "items.parquet")["source"].to_pylist()[4]
    before = json.loads((FOLDER / "summary.json").read_text())["sha256"]
    picture = Image.fromarray(noise(77, 40, 30))
    picture.save(source)
    pixels = prepared("s", True).pixels
    assert json.loads((FOLDER / "summary.json").read_text())["sha256"] != before
    np.testing.assert_array_equal(pixels[4], prepared("packed", False).pixels[4])


def test_dropped_images_are_not_streamed(data_root: Path) -> None:
    victim = data_root / "imagenet-r" / list(WNIDS)[1]
    sorted(victim.iterdir())[0].write_bytes(b"")
    packed, streamed = prepared("packed", False, True), prepared("s", True, True)
    assert len(streamed.pixels) == 7
    np.testing.assert_array_equal(np.asarray(streamed.pixels), packed.pixels)
    assert streamed.labels.tolist() == [0, 0, 1, 2, 2, 3, 3]
    dropped = json.loads((FOLDER / "summary.json").read_text())["dropped"]
    assert [entry["reason"] for entry in dropped] == ["empty file"]


@pytest.mark.parametrize("resize", ["stretch", "crop"])
def test_the_preprocessing_of_the_set_is_kept(data_root: Path, resize: str) -> None:
    expected = np.array(prepared("packed", False, resize=resize, size=24).pixels)
    np.testing.assert_array_equal(prepared("s", True, resize=resize, size=24).pixels[:], expected)


@pytest.mark.parametrize("case", ["cifar10", "cifar100", "stl10", "pcam"])
def test_images_that_lie_in_one_file_cannot_be_streamed(data_root: Path, monkeypatch, case) -> None:
    source = open_miniature(WRITERS[case](data_root, monkeypatch), stream=True)
    with pytest.raises(UserError, match="are not stored in files of their own.* set stream: false"):
        pack(source, "s", FOLDER, CLASSES / "s.parquet")
    assert not Path("data").exists()


def test_a_table_that_prepare_did_not_write(data_root: Path, both) -> None:
    table = pq.read_table(FOLDER / "files.parquet")
    columns = {name: table[name].to_pylist() for name in table.column_names}
    write_table(FOLDER / "files.parquet", columns, table.schema.remove_metadata())
    with pytest.raises(UserError, match="files.parquet: not written by prepare; run `dvc repro -f"):
        open_images("s")
    del columns["crc32"]
    schema = table.schema.remove(table.schema.get_field_index("crc32"))
    write_table(FOLDER / "files.parquet", columns, schema)
    with pytest.raises(UserError, match="files.parquet: expected columns .*crc32"):
        open_images("s")


def stream_tiny(folders: Path, stream: bool) -> None:
    source = imagefolder.open_source(folder_params(folders, stream=stream))
    pack(source, "tiny", IMAGES / "tiny", CLASSES / "tiny.parquet")


@pytest.mark.parametrize("method", registry.names("pipeline.methods"))
def test_training_on_a_streamed_set_gives_the_same_bytes(
    trainable: Path, class_folders: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = MODEL / clip.WEIGHTS_FILE
    results = []
    for stream in (False, True):
        stream_tiny(class_folders, stream)
        assert isinstance(open_images("tiny").pixels, StreamedPixels) == stream
        train(method=method, epochs=1)
        results.append((weights.read_bytes(), (MODEL / "training.csv").read_bytes()))
    assert results[0] == results[1]
    base = (BASE_MODEL / clip.WEIGHTS_FILE).read_bytes()
    assert results[0][0] != base


def test_evaluation_and_exemplars_of_a_streamed_set_are_the_same_bytes(
    packed: Path, clip_folder: Path, class_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    tiny_project(packed, clip_folder)
    shown = {"images_per_class": 2, "candidates_per_class": None}
    write_params(packed, **{"describe.dataset": "tiny", "exemplars.some": shown,
                            "evaluate.images": 12, "evaluate.batch_size": 5,
                            "evaluate.options.pgd.steps": 3})  # fmt: skip
    results = []
    for stream in (False, True):
        stream_tiny(class_folders, stream)
        evaluate.main("tiny", "pgd", "template", "4", "base")
        exemplars.main("some")
        files = [*Path("data/evaluation").rglob("*.*"), Path("data/exemplars/some.parquet")]
        results.append({path: path.read_bytes() for path in files})
    assert len(results[0]) == 4
    assert results[0] == results[1]


def test_a_streamed_file_that_is_gone_ends_the_training_in_one_line(
    trainable: Path, class_folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    stream_tiny(class_folders, True)
    (class_folders / "n01/3.png").unlink()
    with pytest.raises(SystemExit) as caught:
        train(epochs=1)
    assert caught.value.code == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert f"{class_folders}/n01/3.png: file not found, unlike when set 'tiny' was" in errors[0]
    assert not MODEL.exists()


def test_an_interrupted_streamed_prepare_has_no_pixels_to_keep(
    data_root: Path, monkeypatch
) -> None:
    """Its state is what is known of each image, nothing more."""
    monkeypatch.setattr(prepare, "write_classes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepared("s", True)
    assert not list(Path(".scratch").rglob("images.npy"))

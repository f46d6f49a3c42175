"""Files that are not what their name says, and folders that are not what they should be."""

import io
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.datasets import imagefolder
from pipeline.images.classes import CLASSES
from pipeline.images.image_set import IMAGES, open_images
from pipeline.prepare.pack import pack
from tests.conftest import SIZE, folder_params
from tests.support.dataset_fixtures import open_set
from tests.support.dataset_fixtures.base import noise
from tests.support.dataset_fixtures.foldered import WNIDS, imagenet_r, tiny_regrouped

FIRST = next(iter(WNIDS))  # the class whose folder gets the bad file
GOOD = 2 * len(WNIDS)  # images that are there
PICTURE = Image.fromarray(noise(5, 40, 30))
SOURCES = ("imagefolder", "imagenet_r")
Encoder = Callable[[], bytes]


@pytest.fixture(params=SOURCES)
def source(request, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Class folders of two good JPEGs each, read as any folder or as ImageNet-R."""
    imagenet_r(data_root, monkeypatch)
    return request.param


def packed(source: str, drop: bool = False, **changes: object) -> dict[str, Any]:
    """Prepare set "s" from the class folders; its summary."""
    if source == "imagefolder":
        data_root = Path(str(changes.pop("root", "imagenet-r")))
        source_images = imagefolder.open_source(folder_params(data_root, **changes))
    else:
        source_images = open_set(source, size=SIZE, resize="stretch", **changes)
    mode: Any = "drop" if drop else "error"
    pack(source_images, "s", IMAGES / "s", CLASSES / "s.parquet", mode)
    return json.loads((IMAGES / "s/summary.json").read_text())


def refused(source: str, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        packed(source, **changes)
    assert "\n" not in str(caught.value)
    assert not list(Path("data").rglob("*.*"))  # nothing is half written
    return str(caught.value)


def named(source: str, file: str) -> str:
    """A file of the class FIRST as the set's own paths call it."""
    return f"{'' if source == 'imagefolder' else 'imagenet-r/'}{FIRST}/{file}"


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes whose header claims 30,000 x 30,000 pixels."""
    content = encoded(PICTURE, "PNG")
    header = content[12:16] + (30_000).to_bytes(4, "big") * 2 + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]


def rotated() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encoded(PICTURE, "JPEG", exif=exif)


def sixteen_bits() -> Image.Image:
    return Image.fromarray((np.arange(1200, dtype=np.uint16) * 54).reshape(30, 40))


def transparent_palette() -> bytes:
    return encoded(PICTURE.quantize(16), "PNG", transparency=3)


UNREADABLE: dict[str, tuple[str, Encoder, str]] = {
    "text": ("bad.jpg", lambda: b"<html>404</html>", "not an image file"),
    "nothing": ("bad.jpeg", lambda: b"", "empty file"),
    "half a JPEG": ("bad.JPEG", lambda: encoded(PICTURE, "JPEG")[:-200], "image file is truncated"),
    "half a PNG": ("bad.png", lambda: encoded(PICTURE, "PNG")[:-200], "truncated"),
    "bomb": ("bad.png", bomb, "pixels, a decompression bomb"),
}
CONVERTED: dict[str, tuple[str, Encoder, str]] = {
    "16 bits": ("odd.png", lambda: encoded(sixteen_bits(), "PNG"), "16-bit grey scaled to 8 bits"),
    "palette": ("odd.png", transparent_palette, "transparency dropped"),
    "alpha": ("odd.png", lambda: encoded(_see_through(), "PNG"), "transparency dropped"),
    "CMYK": ("odd.jpg", lambda: encoded(PICTURE.convert("CMYK"), "JPEG"), "CMYK converted"),
    "rotated": ("odd.jpg", rotated, "EXIF rotation not applied"),
}  # fmt: skip
SILENT: dict[str, tuple[str, Encoder]] = {
    "grey": ("odd.jpg", lambda: encoded(PICTURE.convert("L"), "JPEG")),
    "black and white": ("odd.png", lambda: encoded(PICTURE.convert("1"), "PNG")),
    "palette": ("odd.gif", lambda: encoded(PICTURE.quantize(16), "GIF")),
    "PNG called JPEG": ("odd.jpg", lambda: encoded(PICTURE, "PNG")),
    "EXIF without rotation": ("odd.jpg", lambda: encoded(PICTURE, "JPEG", exif=_exif(1))),
    "damaged EXIF": ("odd.png", lambda: encoded(PICTURE, "PNG", exif=b"Exif\0\0MM\x18*\0\0\0\x08")),
    "cut off EXIF": ("odd.webp", lambda: encoded(PICTURE, "WEBP", exif=_exif(6).tobytes()[:18])),
}


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def _see_through() -> Image.Image:
    picture = PICTURE.convert("RGBA")
    picture.putalpha(PICTURE.convert("L"))
    return picture


def put(data_root: Path, file: str, content: bytes, wnid: str = FIRST) -> None:
    (data_root / "imagenet-r" / wnid / file).write_bytes(content)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_file_is_named_with_its_reason(
    data_root: Path, source: str, kind: str
) -> None:
    file, encoder, why = UNREADABLE[kind]
    put(data_root, file, encoder())
    message = refused(source)
    assert f"s: 1 of {GOOD + 1} images cannot be read: {named(source, file)} (" in message
    assert why in message
    assert (
        "replace them and run again (what is decoded is kept), or set prepare.on_unreadable: drop"
        in message
    )
    assert str(data_root) not in message


@pytest.mark.parametrize("kind", UNREADABLE)
def test_or_it_is_dropped_and_listed(data_root: Path, source: str, kind: str) -> None:
    """The images that are left keep their order and their labels."""
    clean = packed(source)
    before = np.array(open_images("s").pixels)
    file, encoder, why = UNREADABLE[kind]
    put(data_root, file, encoder())
    summary = packed(source, drop=True)
    assert [dropped["source"] for dropped in summary["dropped"]] == [named(source, file)]
    assert why in summary["dropped"][0]["reason"]
    assert str(data_root) not in json.dumps(summary)
    assert {**summary, "dropped": []} == clean
    images = open_images("s")
    np.testing.assert_array_equal(images.pixels, before)
    assert images.labels.tolist() == [k // 2 for k in range(GOOD)]


@pytest.mark.parametrize("kind", CONVERTED)
def test_what_was_converted_is_listed(data_root: Path, source: str, kind: str) -> None:
    """With the pixels that PIL makes of it, in 8 bits and as stored."""
    file, encoder, remark = CONVERTED[kind]
    content = encoder()
    put(data_root, file, content)
    summary = packed(source)
    assert summary["converted"] == {remark: {"images": 1, "first": named(source, file)}}
    assert summary["images"] == GOOD + 1
    with Image.open(io.BytesIO(content)) as picture:
        expected = picture.convert("RGBA" if "transparency" in remark else "RGB").convert("RGB")
    if kind == "16 bits":  # PIL alone clips to white
        assert np.asarray(expected)[1:].min() == 255
        grey = np.rint(np.asarray(sixteen_bits()) / 257).astype(np.uint8)
        expected = Image.fromarray(grey).convert("RGB")
    assert_pixels(summary, expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", SILENT)
def test_what_loses_nothing_is_read_without_a_word(data_root: Path, source: str, kind: str) -> None:
    """Damaged EXIF data too: the pixels are whole."""
    file, encoder = SILENT[kind]
    content = encoder()
    put(data_root, file, content)
    summary = packed(source)
    assert (summary["converted"], summary["dropped"]) == ({}, [])
    with Image.open(io.BytesIO(content)) as picture:
        assert_pixels(summary, picture.convert("RGB"))


def assert_pixels(summary: dict[str, Any], expected: Image.Image) -> None:
    """The odd file is the last of its class, the first one."""
    assert summary["images"] == GOOD + 1
    square = expected.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(open_images("s").pixels[2], np.asarray(square).transpose(2, 0, 1))


def test_several_conversions_are_counted_and_the_first_is_named(
    data_root: Path, source: str
) -> None:
    for wnid in WNIDS:
        put(data_root, "odd.jpg", encoded(PICTURE.convert("CMYK"), "JPEG", exif=_exif(3)), wnid)
    converted = packed(source)["converted"]
    first = named(source, "odd.jpg")
    assert converted == {
        remark: {"images": 4, "first": first}
        for remark in ("CMYK converted", "EXIF rotation not applied")
    }


@pytest.mark.parametrize("what", ["folder", "link"])
def test_a_folder_or_a_dead_link_under_an_images_name(
    data_root: Path, source: str, what: str
) -> None:
    path = data_root / "imagenet-r" / FIRST / "bad.jpg"
    path.mkdir() if what == "folder" else path.symlink_to(data_root / "absent")
    why = "is a directory" if what == "folder" else "file not found"
    assert f"{named(source, 'bad.jpg')} ({why})" in refused(source)


def test_more_than_five_bad_files_are_counted_and_five_named(data_root: Path, source: str) -> None:
    for number in range(7):
        put(data_root, f"bad{number}.jpg", b"")
    message = refused(source)
    assert f"7 of {GOOD + 7} images cannot be read" in message
    assert message.count("(empty file)") == 5
    assert "(empty file) and 2 more; replace" in message


def test_a_drop_that_empties_a_class_is_refused(data_root: Path, source: str) -> None:
    for path in (data_root / "imagenet-r" / FIRST).iterdir():
        path.write_bytes(b"")
    message = refused(source, drop=True)
    assert f"s: no image of class '{FIRST}' can be read (1 classes in all)" in message


def test_drops_in_several_classes_leave_the_rest_in_order(data_root: Path, source: str) -> None:
    """The first file of the first class, the last one of the last: what is left moves up."""
    packed(source)
    before = np.array(open_images("s").pixels)
    folders = [data_root / "imagenet-r" / wnid for wnid in WNIDS]
    sorted(folders[0].iterdir())[0].write_bytes(b"")
    sorted(folders[-1].iterdir())[-1].write_bytes(b"")
    summary = packed(source, drop=True)
    assert (summary["images"], len(summary["dropped"])) == (GOOD - 2, 2)
    assert summary["images_per_class"] == {
        "minimum": 1, "maximum": 2, "class with fewest": FIRST
    }  # fmt: skip
    images = open_images("s")
    np.testing.assert_array_equal(images.pixels, before[1:-1])
    assert images.labels.tolist() == [0, 1, 1, 2, 2, 3]


def test_a_class_folder_without_images(data_root: Path, source: str) -> None:
    shutil.rmtree(data_root / "imagenet-r" / FIRST)
    (data_root / "imagenet-r" / FIRST).mkdir()
    put(data_root, "notes.txt", b"none yet")
    assert f"{FIRST}: class '{FIRST}' has no image" in refused(source)


def test_the_wrong_root(data_root: Path, source: str) -> None:
    if source == "imagefolder":
        assert "holds 1 class folders; is it the folder *of*" in refused(source, root=".")
        assert "no such folder (root: 'absent')" in refused(source, root="absent")
    else:
        message = refused(source, root="imagenet-r")
        assert f"is missing: no imagenet-r in {data_root}/imagenet-r." in message


def test_a_class_table_names_a_class_that_has_no_folder(data_root: Path, source: str) -> None:
    """Of interest where names come from the table; ImageNet-R's do not."""
    table = data_root / "imagenet-r/classes.tsv"
    table.write_text("n00000000\tunicorn\n" + "".join(f"{w}\tx{w}\n" for w in WNIDS))
    if source == "imagefolder":
        assert "classes.tsv: class 'n00000000' has no folder (1 in all); the ar" in refused(source)
        table.write_text(table.read_text().partition("\n")[2])
    packed(source)
    names = [class_entry.name for class_entry in open_images("s").classes]
    expected = [f"x{w}" for w in WNIDS] if source == "imagefolder" else list(WNIDS.values())
    assert names == expected


def test_an_extra_folder_in_tiny_imagenet_is_named(data_root: Path, monkeypatch) -> None:
    tiny_regrouped(data_root, monkeypatch)
    (data_root / "tiny-imagenet-200/val/extra").mkdir()
    with pytest.raises(UserError, match="'extra' is no class of ImageNet-1k"):
        packed("tiny_imagenet")
    assert not Path("data").exists()

"""Images and shards that are small and stand for more than memory holds, or lead elsewhere: each
through the real reader, in bounded memory and time, is left out or ends in one line."""

import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.datasets import imagefolder, webdataset
from pipeline.prepare.pack import pack
from tests.conftest import folder_params
from tests.faults.contained import contained


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that says it is that large, with `chunks` and one short line of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = b"".join(chunk(kind, content) for kind, content in chunks)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + body + pixels + chunk(b"IEND", b"")


def frames(kind: str, count: int) -> bytes:
    """An image file of many frames."""
    stream = io.BytesIO()
    images = [Image.new("P", (8, 8), number % 7) for number in range(count)]
    images[0].save(stream, kind, save_all=True, append_images=images[1:])
    return stream.getvalue()


ZEROS = zlib.compress(bytes(200 * 2**20), 9)  # 200 kB that stand for 200 MB
IMAGES = {
    "60,000 x 60,000.png": png(60_000, 60_000),
    "2**31 wide.png": png(2**31 - 1, 1),
    "text.png": png(8, 8, (b"zTXt", b"a\0\0" + ZEROS)),
    "profile.png": png(8, 8, (b"iCCP", b"a\0\0" + ZEROS)),
    "huge.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 50_000, 50_000, 1, 24,
                                    0, 0, 0, 0, 0, 0),
    "huge.ppm": b"P6 2000000000 2000000000 255\n",
    "digits.ppm": b"P6 " + b"9" * 5000 + b" 1 255\n",
    "huge.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b","
                + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\1\0\0;",
    "huge.tif": b"II*\0\x08\0\0\0\x03\0" + struct.pack("<HHII", 256, 4, 1, 2**31)
                + struct.pack("<HHII", 257, 4, 1, 2**31) + struct.pack("<HHII", 273, 4, 1, 8)
                + bytes(4),
    "loop.tif": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_bomb_is_one_unreadable_image(class_folders, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (class_folders / "n00" / name).write_bytes(IMAGES[name])
    source = imagefolder.open_source(folder_params(class_folders))
    line = contained(lambda: pack(source, "tiny", tmp_path / "images", tmp_path / "c.parquet"))
    assert f"tiny: 1 of 17 images cannot be read: n00/{name} (" in line
    assert not (tmp_path / "images").exists()


@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["gif", "tiff", "png"])
def test_of_many_frames_the_first_is_read(class_folders, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (class_folders / f"n00/many.{kind}").write_bytes(frames(kind, 300))
    source = imagefolder.open_source(folder_params(class_folders))
    line = contained(lambda: pack(source, "tiny", tmp_path / "images", tmp_path / "c.parquet"))
    assert line == ""


def shard(folder: Path, members: list[tarfile.TarInfo], contents: dict[str, bytes]) -> None:
    """A set of one shard, of one good image and `members`."""
    (folder / "test").mkdir(parents=True)
    (folder / "classnames.txt").write_text("cat\ndog\n")
    (folder / "test/nshards.txt").write_text("1\n")
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "png")
    good = {"a.png": stream.getvalue(), "a.cls": b"0"}
    with tarfile.open(folder / "test/0.tar", "w") as tar:
        for name, content in good.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in members:
            info.size = len(contents.get(info.name, b""))
            tar.addfile(info, io.BytesIO(contents.get(info.name, b"")))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def open_shards(folder: Path) -> Callable[[], object]:
    values = {"source": "webdataset", "root": str(folder), "split": "test", "size": 8,
              "resize": "stretch"}  # fmt: skip
    return lambda: webdataset.open_source(webdataset.Params.model_validate(values))


@pytest.mark.parametrize(
    "info",
    [
        member("b.cls", tarfile.SYMTYPE, "/etc/passwd"),
        member("b.cls", tarfile.LNKTYPE, "../../nowhere"),
        member("b.cls", tarfile.SYMTYPE, "b.cls"),
        member("b.cls", tarfile.CHRTYPE),
        member("b.cls", tarfile.FIFOTYPE),
        member("b.cls", tarfile.DIRTYPE),
    ],
    ids=["absolute", "outside", "loop", "device", "fifo", "folder"],
)
def test_what_is_no_file_in_a_shard_is_no_class(tmp_path, info):
    image = member("b.png")
    shard(tmp_path / "s", [image, info], {"b.png": b"x"})
    line = contained(open_shards(tmp_path / "s"))
    assert line.startswith(f"{tmp_path / 's/test/0.tar'}: ")


@pytest.mark.parametrize("link", ["/etc/passwd", "../../../etc/passwd"])
def test_a_link_in_a_shard_is_no_image_and_nothing_outside_is_read(tmp_path, monkeypatch, link):
    monkeypatch.chdir(tmp_path)
    links = [member("b.png", tarfile.SYMTYPE, link), member("b.cls")]
    shard(tmp_path / "s", links, {"b.cls": b"1"})

    def packed() -> None:
        source = open_shards(tmp_path / "s")()
        pack(source, "tiny", tmp_path / "images", tmp_path / "c.parquet")

    assert "test/0.tar: b.cls has no image" in contained(packed)


def test_names_in_a_shard_lead_nowhere(tmp_path):
    """Nothing is extracted: images are read in place."""
    names = [member(name) for name in ("/abs.png", "../../up.png", "/abs.cls", "../../up.cls")]
    contents = {info.name: b"1" if info.name.endswith("cls") else b"x" for info in names}
    shard(tmp_path / "s", names, contents)
    before = sorted(tmp_path.rglob("*"))
    assert contained(open_shards(tmp_path / "s")) == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_class_file_that_stands_for_a_terabyte(tmp_path):
    info = member("b.cls", tarfile.GNUTYPE_SPARSE)
    shard(tmp_path / "s", [member("b.png"), info], {"b.png": b"x"})
    file = tmp_path / "s/test/0.tar"
    content = bytearray(file.read_bytes())
    start = content.index(b"b.cls\0")
    content[start + 386 : start + 410] = b"%011o\0%011o\0" % (0, 0)  # of one part, which is empty
    content[start + 483 : start + 495] = struct.pack(">BxxxQ", 0x80, 2**40)  # its whole size
    content[start + 148 : start + 156] = b" " * 8
    content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
    file.write_bytes(content)
    assert contained(open_shards(tmp_path / "s")).startswith(f"{file}: ")


@pytest.mark.parametrize("count", ["99999999999", "9" * 5000, "\N{SUPERSCRIPT TWO}", "-1", ""])
def test_a_number_of_shards_that_none_has(tmp_path, count):
    shard(tmp_path / "s", [], {})
    (tmp_path / "s/test/nshards.txt").write_text(count)
    assert "nshards.txt" in contained(open_shards(tmp_path / "s"))

"""Files that are small and stand for more than any memory holds, or hold more than data: each
through the real reader, in bounded memory and time, ends in one line."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline.clip.config import read_config
from pipeline.clip.text_encoding import _read as read_features
from pipeline.common.params import read_params
from pipeline.common.tables import read_json, read_table
from pipeline.datasets import imagefolder, webdataset
from pipeline.descriptions.messages import parse_answer
from pipeline.descriptions.model_folder import _check_length
from pipeline.descriptions.published_file import read_published
from pipeline.images.classes import CLASS_SCHEMA
from pipeline.images.image_set import _packed
from pipeline.models import state_dicts, wrappers
from pipeline.models.caption_files import read_sentences
from pipeline.prepare.pack import pack
from tests.conftest import folder_params
from tests.faults.contained import contained

DEEP = 100_000


def sampled(cases: Iterable[str], *slow: str) -> list[Any]:
    """Names of cases for parametrize; those that are `slow` are of the campaign only."""
    marks = pytest.mark.campaign
    return [pytest.param(name, marks=marks) if name in slow else name for name in cases]


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


def npy(shape: str, kind: str = "'|u1'") -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)


class Code:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch UNPICKLED",)


def pickled_npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Code()], dtype=object), allow_pickle=True)
    return stream.getvalue()


NPYS = {
    "huge": npy("(1000000000, 3, 224, 224)"),
    "beyond 64 bits": npy("(99999999999999999999, 3, 8, 8)"),
    "negative": npy("(-1, 3, 8, 8)"),
    "deep": npy("(" * 3000 + ")" * 3000),
    "objects": pickled_npy(),
    "header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{" * 1000,
}


@pytest.mark.parametrize("name", NPYS)
def test_an_array_that_claims_to_be_huge_or_holds_code(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.npy").write_bytes(NPYS[name])
    assert contained(lambda: _packed(tmp_path)).startswith(f"{tmp_path / 'images.npy'}: ")

    def cached() -> None:  # features that cannot be read are computed again
        assert read_features(tmp_path / "images.npy", 3) is None

    assert contained(cached) == ""
    assert not Path("UNPICKLED").exists()


def safetensors(length: int, header: bytes) -> bytes:
    return length.to_bytes(8, "little") + header


SAFETENSORS = {
    "header of 2**63": safetensors(2**63, b"{}"),
    "header of 90 MB": safetensors(90 * 2**20, b"{}"),
    "deep": safetensors(DEEP, b'{"a":' + b"[" * (DEEP - 5)),
    "offsets": safetensors(66, b'{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,4]}}'),
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", SAFETENSORS)
def test_weights_whose_header_claims_too_much(tmp_path, name):
    file = tmp_path / "model.safetensors"
    file.write_bytes(SAFETENSORS[name])
    assert contained(lambda: state_dicts.read(file)).startswith(f"{file}: ")
    assert contained(lambda: _check_length(file)).startswith(f"{file}: ")


def checkpoint(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def doubled(levels: int) -> dict[str, object]:
    """A dictionary that holds another twice, which holds another twice, ..."""
    value: dict[str, object] = {}
    for _ in range(levels):
        value = {"a": value, "b": value}
    return value


def itself() -> dict[str, object]:
    value: dict[str, object] = {}
    value["a"] = value
    return value


def zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(300 * 2**20))
        file.writestr("archive/version", "3")
    return stream.getvalue()


CHECKPOINTS = {
    "code": pickle.dumps(Code()),
    "code in a zip": checkpoint({"a": Code()}),
    "doubled": checkpoint(doubled(60)),
    "itself": checkpoint(itself()),
    "deep": b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "zip bomb": zip_bomb(),
    "long": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "bytes": b"\x80\x02" + b"N." * 1000,
    "empty": b"",
}


@pytest.mark.parametrize("name", sampled(CHECKPOINTS, "zip bomb"))
def test_a_checkpoint_with_code_or_without_end(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.pt"
    file.write_bytes(CHECKPOINTS[name])
    assert contained(lambda: wrappers.state_dicts(state_dicts.read(file), None, file)) != ""
    assert not Path("UNPICKLED").exists()


JSONS = {
    "lists": "[" * DEEP,
    "objects": '{"a":' * DEEP,
    "digits": "[" + "9" * 5000 + "]",
    "text": '"',
    "null": "\0" * 100,
}


@pytest.mark.parametrize("name", JSONS)
def test_json_without_end(tmp_path, name):
    file = tmp_path / "open_clip_config.json"
    file.write_text(JSONS[name])
    for reader in (read_json, read_published, read_sentences):
        assert contained(lambda reader=reader: reader(file)).startswith(f"{file}: ")
    assert str(file) in contained(lambda: read_config(tmp_path))
    index = tmp_path / "model.index.json"
    index.write_text(JSONS[name])
    assert contained(lambda: state_dicts.read(index)).startswith(f"{index}: ")


def laughs(levels: int, merged: bool) -> str:
    """Lists of ten times the list above, or keys merged so."""
    lines = ["a0: &a0 {x: 1}" if merged else "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        ten = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{ten}]}}" if merged else f"[{ten}]"))
    return "\n".join(lines)


YAMLS = {
    "aliases": laughs(12, merged=False),
    "merged": laughs(12, merged=True),
    "itself": "a: &a [*a]",
    "its own key": "a: &a\n  b: *a",
    "deep": "a: " + "[" * 5000,
    "not so deep": "a: " + "[" * 50 + "]" * 50,
    "digits": "a: " + "9" * 5000,
    "hexadecimal": "a: 0x" + "f" * 5000,
    "date": "a: 2020-13-45",
    "code": "a: !!python/object/apply:os.system [touch UNPICKLED]",
    "half a character": 'a: "\\ud800"',
    "half a character in a key": '"\\ud800": 1',
    "null": 'a: "\\0"',
    "long": "a: " + "x" * 10_001,
}


@pytest.mark.parametrize("name", sampled(YAMLS, "deep"))
def test_yaml_that_stands_for_more_than_it_says(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "params.yaml"
    file.write_text(YAMLS[name])
    assert contained(lambda: read_params(file)).startswith(f"{file}: ")
    assert not Path("UNPICKLED").exists()


def test_yaml_of_a_size_that_no_parameters_have(tmp_path):
    file = tmp_path / "params.yaml"
    with file.open("wb") as stream:
        stream.truncate(2**34)
    assert contained(lambda: read_params(file)).startswith(f"{file}: {2**34} bytes")


@pytest.mark.campaign
def test_a_table_of_300_million_rows_in_two_megabytes(tmp_path):
    file = tmp_path / "classes.parquet"
    zeros = pa.array(np.zeros(30_000_000, np.int32))
    part = pa.DictionaryArray.from_arrays(zeros, pa.array(["x"]))
    schema = pa.schema([("class_id", part.type)])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(pa.table([part], schema=schema))
    assert file.stat().st_size < 2**21
    line = contained(lambda: read_table(file, CLASS_SCHEMA))
    assert line == "out of memory" or line.startswith(f"{file}: ")


ANSWERS = {
    "brackets": "[" * DEEP,
    "braces": '{"a":' * 20_000,
    "quotes": '"' * DEEP,
    "escapes": '["' + "\\" * DEEP,
    "thoughts": "<think>" * 20_000,
    "thoughts that end": "<think>x</think>" * 5_000,
    "fences": "```json\n" * 15_000,
    "numbers": "1. " * 30_000,
    "lines": "\n" * DEEP,
    "blanks": " " * DEEP + "x",
    "stars": "*" * DEEP,
    "commas": "a, " * 30_000,
    "dots": "a." * 40_000,
    "one word": "a" * DEEP,
    "one word that ends": "a" * DEEP + ". A b c.",
    "short sentences": "A b. " * 20_000,
    "quoted": '"A b." ' * 15_000,
    "brackets in text": "x [" * 30_000,
    "list": "- a\n" * 25_000,
    "hash": "#" * DEEP,
    "opened tags": "<" * DEEP,
    "ends": "</think>" * 10_000,
    "surrogates": "\ud800" * 10_000,
    "cut": json.dumps([f"The cat has {number} eyes." for number in range(3000)])[:-5],
    "colons": "a: " * 30_000,
}


@pytest.mark.campaign
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_hostile_to_regular_expressions(name):
    assert contained(lambda: parse_answer(ANSWERS[name])) == ""

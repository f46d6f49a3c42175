"""Text files as editors of every system save them."""

import json
import unicodedata
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.common.tables import read_json
from pipeline.common.text_files import one_form, read_text, spelled_as

CAFE = "café"
NFD = unicodedata.normalize("NFD", CAFE)


def test_marks_and_line_ends_of_every_system_are_no_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    for content in ("a\nb\n", "\ufeffa\nb\n", "a\r\nb\r\n", "\ufeffa\r\nb\r\n", "a\rb\r"):
        file.write_bytes(content.encode())
        assert read_text(file) == "a\nb\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("id\tname\n".encode(encoding))
    with pytest.raises(UserError, match=r"names\.txt: is UTF-16; save it as UTF-8 \(in Excel"):
        read_text(file)


def test_other_bytes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    for content in (b"caf\xe9\n", b"\0\0\0\0\xff"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"names\.txt: not UTF-8 text; save it as UTF-8"):
            read_text(file)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(UserError, match=r"a pointer of Git LFS, not the file; run `git lfs pull`"):
        read_text(file)
    with pytest.raises(UserError, match=f"{tmp_path}: cannot be read: Is a directory"):
        read_text(tmp_path)


def test_json_and_yaml_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n')
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [x,\r\n  y]\r\n")
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert read_params(tmp_path / "a.yaml") == {"a": 1, "b": ["x", "y"]}
    for name in ("a.json", "a.yaml"):
        (tmp_path / name).write_bytes(json.dumps({"a": 1}).encode("utf-16"))
        read = read_json if name.endswith("json") else read_params
        with pytest.raises(UserError, match=f"{name}: is UTF-16; save it as UTF-8"):
            read(tmp_path / name)


def test_names_that_look_alike_have_one_form() -> None:
    looks = [
        "polar bear",
        "polar\u00a0bear",
        " polar  bear ",
        "\ufeffpol\u200bar bear",
        "polar\u2009bear",
    ]
    assert {one_form(name) for name in looks} == {"polar bear"}
    assert one_form(NFD) == CAFE != NFD
    assert one_form("Polar bear") != one_form("polar bear"), "case is seen"


def test_a_name_is_taken_as_the_other_side_writes_it() -> None:
    assert spelled_as([NFD, "a", "b c"], {CAFE, "b\u00a0c"}) == [CAFE, "a", "b\u00a0c"]
    assert spelled_as([CAFE, NFD], {CAFE, NFD}) == [CAFE, NFD], "an exact name comes first"

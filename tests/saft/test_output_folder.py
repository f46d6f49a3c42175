"""A folder that cannot be made is told of before the work, not after it."""

import os
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from saft.output_folder import check_free


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("empty").mkdir()
    Path("full/inner").mkdir(parents=True)
    Path("gone").symlink_to("nowhere")


@pytest.mark.parametrize("name", ["new", "new/deep/er", "empty", "empty/new", "full/inner", "../x"])
def test_a_folder_that_can_be_made_is_taken_and_nothing_is_made(name: str) -> None:
    before = sorted(Path().rglob("*"))
    check_free(Path(name))
    check_free(Path(name).absolute())
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file", "file: exists and is not an empty folder; name another with --out"),
        ("full", "full: exists and is not an empty folder; name another with --out"),
        ("file/x", "file/x: file is not a folder; name another with --out"),
        ("file/x/y", "file/x/y: file is not a folder; name another with --out"),
        ("gone/x", "gone/x: gone is not a folder; name another with --out"),
        ("n" * 300, "n" * 300 + ": File name too long; name another with --out"),
    ],
)
def test_one_that_cannot_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(UserError) as error:
        check_free(Path(name))
    assert str(error.value) == reason


def test_a_folder_that_may_not_be_written_to_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != Path("full"))  # root may always
    check_free(Path("empty/x"))
    with pytest.raises(UserError, match="^full/x/y: full may not be written to; name another"):
        check_free(Path("full/x/y"))

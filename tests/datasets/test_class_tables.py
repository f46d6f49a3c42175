"""classes.tsv and class folders as people have them: marks, spaces and Unicode forms that nobody
sees decide nothing, and what was taken for the same is said."""

import json
import unicodedata
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.datasets import imagefolder
from pipeline.images.classes import CLASSES
from pipeline.images.image_set import IMAGES, ImageSource, open_images
from pipeline.prepare.pack import pack
from pipeline.prepare.summary import lines
from tests.conftest import folder_params

NFC = "café"
NFD = unicodedata.normalize("NFD", NFC)


def opened(root: Path, table: bytes | str | None = None, **changes: object) -> ImageSource:
    if table is not None:
        content = table if isinstance(table, bytes) else table.encode()
        (root / "classes.tsv").write_bytes(content)
    return imagefolder.open_source(folder_params(root, **changes))


def named(source: ImageSource) -> list[tuple[str, str]]:
    return [(entry.class_id, entry.name) for entry in source.classes]


@pytest.mark.parametrize(
    "table",
    [
        b"\xef\xbb\xbfn00\tcrane\nn01\towl\nn02\tpolar bear\n",
        b"\xef\xbb\xbfid\tname\r\nn00\tcrane\r\nn01\towl\r\nn02\tpolar bear\r\n",
        "n00 \tcrane \n n01\t owl\nn02\tpolar\u00a0bear\n\n",
        "n00\tcrane\t\nn01\towl\t\u00a0\nn02\tpolar  bear\n",
    ],
    ids=["mark", "mark, header and CRLF", "spaces", "empty columns"],
)
def test_what_nobody_sees_in_a_table_changes_nothing(class_folders: Path, table: bytes) -> None:
    source = opened(class_folders, table)
    assert named(source) == [("n00", "crane"), ("n01", "owl"), ("n02", "polar bear")]
    assert source.notes == []


def test_a_table_in_utf_16_is_named(class_folders: Path) -> None:
    with pytest.raises(UserError, match=r"classes\.tsv: is UTF-16; save it as UTF-8"):
        opened(class_folders, "n00\tcrane\n".encode("utf-16"))


@pytest.mark.parametrize(("folder", "written"), [(NFC, NFD), (NFD, NFC), (NFD, NFD)])
def test_unicode_forms_of_a_name_are_one_class(
    class_folders: Path, folder: str, written: str
) -> None:
    (class_folders / "n02").rename(class_folders / folder)
    source = opened(class_folders, f"n00\tcrane\n{written}\tcoffee house\n")
    assert named(source) == [(NFC, "coffee house"), ("n00", "crane"), ("n01", "n01")]
    assert {item.source.split("/")[0] for item in source.items} == {folder, "n00", "n01"}
    said = "\n".join(source.notes)
    assert (f"1 folder names are in decomposed Unicode (NFD), as macOS writes them, e.g. '{NFC}'"
            in said) == (folder == NFD)  # fmt: skip
    assert ("classes.tsv: 1 class ids differ from their folders in form alone" in said) == (
        written == NFD
    )
    chosen = opened(class_folders, classes=[NFD, "n00"])
    assert [entry.class_id for entry in chosen.classes] == [NFC, "n00"]


def test_a_no_break_space_in_an_id_is_a_space(class_folders: Path) -> None:
    (class_folders / "n02").rename(class_folders / "polar bear")
    source = opened(class_folders, "polar\u00a0bear\ticebear\n")
    assert named(source)[-1] == ("polar bear", "icebear")
    assert "differ from their folders in form alone" in source.notes[0]


def test_two_folders_or_lines_of_one_look_are_refused(class_folders: Path) -> None:
    (class_folders / "n02").rename(class_folders / NFC)
    with pytest.raises(UserError, match=rf"classes\.tsv: class id '{NFC}' occurs twice, in diff"):
        opened(class_folders, f"{NFC}\ta\n{NFD}\tb\n")
    (class_folders / "n01").rename(class_folders / NFD)
    if len(list(class_folders.glob("caf*"))) == 2:  # a file system may take them for one
        with pytest.raises(UserError, match=rf"two folders are called '{NFC}', one of them in"):
            opened(class_folders, "n00\ta\n")


def test_a_class_without_a_folder_is_still_named(class_folders: Path) -> None:
    with pytest.raises(UserError, match=r"classes\.tsv: class 'n09' has no folder \(1 in all\)"):
        opened(class_folders, "\ufeffn00\tcrane\nn09\towl\n")
    with pytest.raises(UserError, match="line 1: expected id<TAB>name"):
        opened(class_folders, "\tcrane\n")


def test_a_table_that_names_no_folder_is_refused(class_folders: Path, tmp_path: Path) -> None:
    table = tmp_path / "names.tsv"
    table.write_text("cat\tCat\ndog\tDog\n")
    with pytest.raises(UserError, match=r"names\.tsv: none of its 2 class ids is a folder of"):
        opened(class_folders, names=str(table))
    table.write_text("cat\tCat\nn00\tcrane\n")
    assert named(opened(class_folders, names=str(table)))[0] == ("n00", "crane")


def test_what_was_taken_for_the_same_is_in_the_summary(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")

    def packed(name: str) -> dict[str, object]:
        source = opened(class_folders)
        pack(source, name, IMAGES / name, CLASSES / f"{name}.parquet")
        return json.loads((IMAGES / name / "summary.json").read_text())

    assert not {"notes", "left_out"} & set(packed("usual")), "as before where nothing is to say"
    (class_folders / "n02").rename(class_folders / NFD)
    summary = packed("set")
    assert len(summary["notes"]) == 1
    assert f"set: {summary['notes'][0]}" in lines("set", summary)
    assert [entry.class_id for entry in open_images("set").classes] == [NFC, "n00", "n01"]

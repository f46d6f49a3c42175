"""Layouts and files that are damaged in rarer ways: each is named, none ends in a traceback."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.datasets import imagefolder
from pipeline.images import data_root as raw
from pipeline.images.classes import CLASSES
from pipeline.images.decoding import Encoded, decode
from pipeline.images.image_set import IMAGES, ImageSource, open_images
from pipeline.prepare import pixel_files
from pipeline.prepare.pack import FINDINGS, check_source, pack
from tests.conftest import folder_params
from tests.support.dataset_fixtures import open_miniature
from tests.support.dataset_fixtures.base import noise, refused
from tests.support.dataset_fixtures.foldered import WNIDS, imagenet_r

TINY = "tiny-imagenet-200/val"
FIRST = next(iter(WNIDS))


@pytest.mark.parametrize("case", ["tiny_imagenet regrouped", "imagenet val", "imagenet_a"])
def test_a_file_where_a_folder_belongs(data_root: Path, write_dataset, case: str) -> None:
    miniature = write_dataset(case)
    base = (data_root / miniature.sources[0]).parents[1]
    shutil.rmtree(base)
    base.write_text("not a folder")
    assert f"{base}: is no folder; extract the archive again" in refused(miniature)


def test_a_table_that_is_no_text_or_empty(data_root: Path, write_dataset) -> None:
    stock = write_dataset("tiny_imagenet stock")
    table = data_root / TINY / "val_annotations.txt"
    table.write_bytes(b"val_1.JPEG\tn\xe9\n")
    assert "val_annotations.txt: not UTF-8 text" in refused(stock)
    table.write_text("")
    assert "expected image<TAB>wnid in every line" in refused(stock, partial=True)


def test_an_image_that_no_row_lists_or_two_rows_do(data_root: Path, write_dataset) -> None:
    stock = write_dataset("tiny_imagenet stock")
    table = data_root / TINY / "val_annotations.txt"
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join(rows[1:]))
    name = rows[0].split("\t")[0]
    assert f"{name}: val_annotations.txt does not list it (1 in all)" in refused(stock)
    table.write_text("".join([*rows, rows[0]]))
    assert f"{name} stands there more than once (1 in all)" in refused(stock)


def test_an_empty_images_folder_beside_the_sorted_ones_is_left_out(
    data_root: Path, write_dataset
) -> None:
    regrouped = write_dataset("tiny_imagenet regrouped")
    before = [item.source for item in open_miniature(regrouped).items]
    (data_root / TINY / "images").mkdir()
    assert [item.source for item in open_miniature(regrouped).items] == before


def test_a_stray_folder_of_eurosat_is_no_class(data_root: Path, write_dataset) -> None:
    miniature = write_dataset("eurosat")
    shutil.copytree(data_root / "eurosat/2750/Forest", data_root / "eurosat/2750/Desert")
    assert "eurosat/2750/Desert: no class of EuroSAT; remove the folder" in refused(miniature)


def test_what_archivers_leave_behind_is_no_class(data_root: Path, write_dataset) -> None:
    miniature = write_dataset("caltech101")
    before = [
        class_entry.class_id for class_entry in open_miniature(miniature, partial=True).classes
    ]
    shutil.copytree(
        data_root / "caltech101/101_ObjectCategories/Faces",
        data_root / "caltech101/101_ObjectCategories/__MACOSX",
    )
    assert [
        class_entry.class_id for class_entry in open_miniature(miniature, partial=True).classes
    ] == before


def folder(data_root: Path) -> ImageSource:
    return imagefolder.open_source(folder_params(data_root / "imagenet-r"))


def test_names_that_are_no_utf8_are_named(data_root: Path, monkeypatch) -> None:
    imagenet_r(data_root, monkeypatch)
    latin = os.fsencode(data_root / "imagenet-r" / FIRST) + b"/caf\xe9.jpg"
    shutil.copy(next((data_root / "imagenet-r" / FIRST).iterdir()), latin)
    with pytest.raises(UserError, match="set: the name .*caf.* is not UTF-8; rename it"):
        check_source(folder(data_root), "set")
    os.rename(latin, os.fsencode(data_root / "imagenet-r") + b"/caf\xe9")
    os.unlink(os.fsencode(data_root / "imagenet-r") + b"/caf\xe9")
    os.mkdir(os.fsencode(data_root / "imagenet-r") + b"/caf\xe9")
    with pytest.raises(UserError, match="imagenet-r: the name 'caf.' is not UTF-8"):
        folder(data_root)


def test_images_behind_linked_folders_are_found(data_root: Path, monkeypatch) -> None:
    imagenet_r(data_root, monkeypatch)
    count = len(folder(data_root).items)
    (data_root / "elsewhere").mkdir()
    Image.fromarray(noise(3, 30, 30)).save(data_root / "elsewhere/x.jfif", "JPEG")
    (data_root / "imagenet-r" / FIRST / "linked").symlink_to(data_root / "elsewhere")
    assert len(folder(data_root).items) == count + 1


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1)])
def test_a_strip_is_refused_before_it_fills_the_memory(tmp_path: Path, shape) -> None:
    Image.fromarray(np.zeros((*shape, 3), dtype=np.uint8)).save(tmp_path / "strip.png")
    with pytest.raises(ValueError, match="too long and thin to be cropped"):
        decode(Encoded(tmp_path / "strip.png"), 224, "crop")
    assert decode(Encoded(tmp_path / "strip.png"), 16, "stretch").pixels.shape == (3, 16, 16)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((20, 20), dtype=np.float32)).save(
        tmp_path / "float.tif"
    )
    with pytest.raises(ValueError, match="floating-point pixels"):
        decode(Encoded(tmp_path / "float.tif"), 16, "stretch")


def streamed(data_root: Path) -> ImageSource:
    return imagefolder.open_source(folder_params(data_root / "imagenet-r", stream=True))


def test_an_interrupted_checksum_pass_decodes_nothing_again(data_root: Path, monkeypatch) -> None:
    imagenet_r(data_root, monkeypatch)
    where = (IMAGES / "s", CLASSES / "s.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(pixel_files, "read_bytes", lambda _: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            pack(streamed(data_root), "s", *where)
    assert len(list(Path(".scratch").glob(f"prepare-*/{FINDINGS}"))) == 1
    source = streamed(data_root)
    decoded: list[int] = []
    object.__setattr__(source, "decode", lambda index: decoded.append(index))
    pack(source, "s", *where)
    assert decoded == []
    assert len(open_images("s").labels) == len(source.items)


def test_a_file_that_vanishes_before_its_checksum_is_named(data_root: Path, monkeypatch) -> None:
    imagenet_r(data_root, monkeypatch)
    victim = streamed(data_root).files.files[1].path
    original = pixel_files.read_bytes

    def vanishing(encoded: Encoded) -> bytes:
        if encoded.path == victim:
            raise FileNotFoundError(2, "No such file", str(victim))
        return original(encoded)

    monkeypatch.setattr(pixel_files, "read_bytes", vanishing)
    with pytest.raises(UserError, match=f"{victim.name}: file not found, though it could be"):
        pack(streamed(data_root), "s", IMAGES / "s", CLASSES / "s.parquet")
    assert not (IMAGES / "s").exists()


def test_a_set_without_an_image_is_refused() -> None:
    with pytest.raises(UserError, match="empty: holds no image"):
        check_source(ImageSource([], [], 8, lambda _: None), "empty")


def test_the_home_folder_may_be_called_so(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SAFT_DATA", "~/raw")
    assert raw.root() == tmp_path / "raw"
    assert raw.locate("x") == tmp_path / "raw/x"
    assert raw.locate("~/y") == tmp_path / "y"

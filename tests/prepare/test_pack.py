"""Packing: decoded once, ids not names, and what users get for bad input."""

import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision.transforms import v2

from pipeline.common.errors import UserError
from pipeline.datasets import digits, imagefolder, pairs, shapes
from pipeline.images.classes import (
    CLASSES,
    ClassEntry,
    read_classes,
    read_own_templates,
    write_classes,
)
from pipeline.images.image_set import IMAGES, ImageSource, SourceImage, open_images
from pipeline.prepare.pack import pack
from tests.conftest import SIZE, folder_params


def pack_folder(root: Path, **changes: object) -> None:
    source = imagefolder.open_source(folder_params(root, **changes))
    pack(source, "tiny", IMAGES / "tiny", CLASSES / "tiny.parquet")


def first_of_two_classes(tmp_path: Path) -> Path:
    """An empty class folder that sorts before another one with an image."""
    for name in ("a", "b"):
        (tmp_path / "two" / name).mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "two" / "b" / "x.png")
    return tmp_path / "two" / "a"


def nothing_written() -> bool:
    return not [p for p in Path("data").rglob("*") if p.is_file()]


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "empty-project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_packed_set_opens_as_a_memory_map_in_label_order(packed, class_folders):
    images = open_images("tiny")
    assert isinstance(images.pixels, np.memmap)
    assert images.pixels.shape == (16, 3, SIZE, SIZE)
    assert [class_entry.class_id for class_entry in images.classes] == ["n00", "n01", "n02"]
    assert images.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 6
    with Image.open(class_folders / "n01" / "2.png") as file:
        expected = v2.functional.resize(file.convert("RGB"), [SIZE, SIZE])
    np.testing.assert_array_equal(images.pixels[7], np.asarray(expected).transpose(2, 0, 1))


def test_packing_twice_gives_the_same_bytes(packed, class_folders):
    before = {p: p.read_bytes() for p in Path("data").rglob("*") if p.is_file()}
    pack_folder(class_folders)
    assert {p: p.read_bytes() for p in Path("data").rglob("*") if p.is_file()} == before
    assert len(before) == 4


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "LA"])
def test_other_modes_become_rgb_as_pil_converts_them(project, tmp_path, mode):
    folder = first_of_two_classes(tmp_path)
    picture = Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 251)
    if mode == "I;16":
        picture = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100)
    else:
        picture = (
            picture.convert("RGB").convert(mode) if mode in ("P", "CMYK") else picture.convert(mode)
        )
    name = "a.jpg" if mode == "CMYK" else "a.png"
    picture.save(folder / name)
    pack_folder(folder.parent)
    with Image.open(folder / name) as file:
        rgb = file.convert("RGB")
    if mode == "I;16":  # PIL alone would clip it to white
        grey = (np.arange(400).reshape(20, 20) * 100 / 257).round().astype(np.uint8)
        rgb = Image.fromarray(grey).convert("RGB")
    expected = rgb.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(
        open_images("tiny").pixels[0], np.asarray(expected).transpose(2, 0, 1)
    )


@pytest.mark.parametrize(
    "shape", [(300, 200), (200, 300), (257, 191), (64, 64), (300, 402), (402, 300)]
)
def test_crop_equals_torchvisions_resize_256_and_centre_crop_224(project, tmp_path, shape):
    folder = first_of_two_classes(tmp_path)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, size=(*shape, 3), dtype=np.uint8))
    picture.save(folder / "a.png")
    pack_folder(folder.parent, size=224, resize="crop")
    transform = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    expected = np.asarray(transform(picture)).transpose(2, 0, 1)
    np.testing.assert_array_equal(open_images("tiny").pixels[0], expected)


@pytest.mark.parametrize("damage", ["zero bytes", "truncated", "text", "bomb"])
def test_an_unreadable_image_is_named_and_nothing_is_written(project, class_folders, damage):
    victim = class_folders / "n01" / "3.png"
    content = victim.read_bytes()
    bomb = content[:16] + (30_000).to_bytes(4, "big") * 2 + content[24:]
    bomb = bomb[:29] + zlib.crc32(bomb[12:29]).to_bytes(4, "big") + bomb[33:]
    damaged = {"zero bytes": b"", "truncated": content[:300], "text": b"no image", "bomb": bomb}
    victim.write_bytes(damaged[damage])
    with pytest.raises(UserError, match="1 of 16 images cannot be read: n01/3.png") as caught:
        pack_folder(class_folders)
    assert "\n" not in str(caught.value)
    assert nothing_written()


def test_missing_folder_empty_class_and_unknown_class(project, class_folders):
    with pytest.raises(UserError, match="no such folder.*SAFT_DATA"):
        pack_folder(class_folders / "absent")
    with pytest.raises(UserError, match="no class 'n09'"):
        pack_folder(class_folders, classes=["n00", "n09"])
    with pytest.raises(UserError, match="slice 5:9 of 3 classes is empty"):
        pack_folder(class_folders, classes="5:9")
    (class_folders / "n03").mkdir()
    (class_folders.parent / "outer" / "inner").mkdir(parents=True)
    with pytest.raises(UserError, match="class 'n03' has no image"):
        pack_folder(class_folders)
    with pytest.raises(UserError, match="holds 1 class folders; is it the folder"):
        pack_folder(class_folders.parent / "outer")
    with pytest.raises(UserError, match="holds 0 class folders"):
        pack_folder(class_folders / "n03")
    assert nothing_written()


def test_glosses_come_from_a_column_that_is_called_so(project, class_folders):
    table = class_folders / "classes.tsv"
    table.write_text("id\tname\tgloss\nn00\tcrane\ta  wading bird \nn01\tcrane\n")
    pack_folder(class_folders)
    glosses = {entry.class_id: entry.gloss for entry in open_images("tiny").classes}
    assert glosses == {"n00": "a wading bird", "n01": "", "n02": ""}
    written = Path("data/classes/tiny.parquet")
    assert pq.read_schema(written).names == ["label", "class_id", "name", "gloss"]
    for header in ("id\tname\tremark\n", "id\tname\n", ""):
        table.write_text(header + "n00\tcrane\ta wading bird\nn01\tcrane\n")
        pack_folder(class_folders)
        assert pq.read_schema(written).names == ["label", "class_id", "name"], "as without"


def test_a_table_with_glosses_has_the_data_sets_templates_too(project):
    entries = [ClassEntry("n00", "crane", "a wading bird")]
    write_classes(CLASSES / "tiny.parquet", entries, ["a photo of a {}."])
    assert read_own_templates("tiny") == ["a photo of a {}."]
    assert read_classes("tiny") == entries


def test_class_names_come_from_the_table_and_may_repeat(project, class_folders):
    (class_folders / "classes.tsv").write_text("id\tname\nn00\tcrane\nn01\tcrane\n")
    pack_folder(class_folders)
    names = [
        (class_entry.class_id, class_entry.name) for class_entry in open_images("tiny").classes
    ]
    assert names == [("n00", "crane"), ("n01", "crane"), ("n02", "n02")]
    (class_folders / "classes.tsv").write_text("n00\tcrane\nn00\tbird\n")
    with pytest.raises(UserError, match=r"line 2: class id 'n00' occurs twice"):
        pack_folder(class_folders)
    (class_folders / "classes.tsv").write_text("n00\t \n")
    with pytest.raises(UserError, match="line 1: expected id<TAB>name"):
        pack_folder(class_folders)
    (class_folders / "classes.tsv").write_bytes(b"n00\tcaf\xe9\n")
    with pytest.raises(UserError, match="not UTF-8"):
        pack_folder(class_folders)
    with pytest.raises(UserError, match="absent.tsv: not found"):
        pack_folder(class_folders, names=str(class_folders / "absent.tsv"))


def test_slices_and_samples_are_disjoint(class_folders):
    first = imagefolder.open_source(folder_params(class_folders, images_per_class=2))
    second = imagefolder.open_source(folder_params(class_folders, skip=2))
    assert {i.source for i in first.items} & {i.source for i in second.items} == set()
    assert len(first.items) + len(second.items) == 16
    half = imagefolder.open_source(folder_params(class_folders, classes="1:"))
    assert [class_entry.class_id for class_entry in half.classes] == ["n01", "n02"]


def test_relative_roots_start_at_the_data_variable(class_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFT_DATA", str(class_folders.parent))
    assert len(imagefolder.open_source(folder_params(Path("raw"))).items) == 16


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        (["a", "a"], [0, 1], "class id 'a' occurs more than once"),
        (["a", "b"], [0, 0], "1 classes have no image: b"),
        (["a", "b"], [0, 2], "label 2 is out of range, there are 2 classes"),
        (["a", "b"], [-1, 1], "label -1 is out of range"),
    ],
)
def test_an_inconsistent_source_is_refused(project, classes, labels, message):
    source = ImageSource(
        [ClassEntry(c, c) for c in classes],
        [SourceImage(label, "x") for label in labels],
        8,
        lambda index: np.zeros((3, 8, 8), dtype=np.uint8),
    )
    with pytest.raises(UserError, match=message):
        pack(source, "bad", IMAGES / "bad", CLASSES / "bad.parquet")
    assert nothing_written()


def test_damaged_packed_sets_are_named(packed):
    array = IMAGES / "tiny" / "images.npy"
    content = array.read_bytes()
    array.write_bytes(content[:40])
    with pytest.raises(UserError, match="not a packed image file"):
        open_images("tiny")
    np.save(array, np.zeros((2, 3, 4, 4), dtype=np.uint8))
    with pytest.raises(UserError, match=r"holds uint8 \(2, 3, 4, 4\).*16 rows"):
        open_images("tiny")
    with pytest.raises(UserError, match="not found"):
        open_images("absent")


def test_the_shape_benchmark_splits_compositions_not_words():
    ids_of = {}
    for split in ("seen", "validation", "held-out"):
        params = shapes.Params(
            source="shapes", split=split, letters=False, images_per_class=1, seed=0
        )
        ids_of[split] = {class_entry.class_id for class_entry in shapes.open_source(params).classes}
    assert [len(ids) for ids in ids_of.values()] == [40, 20, 20]
    assert len(set.union(*ids_of.values())) == 80
    for part in (0, 1):  # every colour and every shape is seen in other company
        words = {split: {i.split("-")[part] for i in ids} for split, ids in ids_of.items()}
        assert words["held-out"] <= words["seen"]


def test_rendered_sets_follow_their_seed():
    def first(seed: int) -> np.ndarray:
        params = shapes.Params(
            source="shapes", split="seen", letters=True, images_per_class=2, seed=seed
        )
        source = shapes.open_source(params)
        return np.stack([source.decode(i).pixels for i in (0, 1, len(source.items) - 1)])

    assert (first(1) == first(1)).all()
    assert (first(1) != first(2)).any()
    source = pairs.open_source(pairs.Params(source="pairs", images=100, glyph_share=0.5, seed=0))
    assert all(item.caption for item in source.items)
    assert source.decode(3).pixels.shape == (3, 32, 32)


def test_a_rendered_shape_is_what_its_caption_says():
    """In pixels: what lies behind it, and how much of the picture it covers."""
    params = shapes.Params(
        source="shapes", split="held-out", letters=True, images_per_class=20, seed=1
    )
    source = shapes.open_source(params)
    names = [class_entry.name for class_entry in source.classes]
    corners, squares = defaultdict(list), defaultdict(list)
    for number, item in enumerate(source.items):
        assert names[item.label] in item.caption
        words, pixels = item.caption.split(), source.decode(number).pixels.astype(float)
        if words[-1] == "background":
            corners[words[-2]].append(pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean())
        if "square" in words:
            coloured = pixels.max(0) - pixels.min(0) > 50  # what lies behind is near grey
            squares[{"large": 1, "small": -1}.get(words[4], 0)].append(coloured.mean())
    assert min(map(len, corners.values())) > 50
    assert np.mean(corners["dark"]) + 20 < np.mean(corners["grey"]) < np.mean(corners["light"]) - 20
    assert np.mean(squares[-1]) < np.mean(squares[0]) < np.mean(squares[1])


def test_digits_are_the_librarys_own():
    source = digits.open_source(digits.Params(source="digits", skip=10, images=50))
    assert [class_entry.name for class_entry in source.classes][:3] == ["zero", "one", "two"]
    assert [item.label for item in source.items][:10] == list(range(10))
    assert source.items[0].source == "sklearn-digits/10"
    assert len(source.items) == 50
    assert source.decode(0).pixels.max() > 200

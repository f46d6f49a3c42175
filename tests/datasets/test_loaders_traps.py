"""What is known to go wrong with the published data sets."""

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from torchvision.datasets import CIFAR10, STL10, Flowers102

from pipeline.common.errors import UserError
from pipeline.prepare.pack import pack
from pipeline.prepare.wnids import all_wnids, class_entries
from tests.support.dataset_fixtures import open_miniature
from tests.support.dataset_fixtures.base import open_set, photos, refused, write

TINY = "tiny-imagenet-200/val"


# Tiny-ImageNet


def test_a_stock_validation_folder_without_its_table(data_root: Path, write_dataset) -> None:
    stock = write_dataset("tiny_imagenet stock")
    (data_root / TINY / "val_annotations.txt").unlink()
    message = refused(stock)
    assert f"{TINY}/val_annotations.txt: not found" in message
    assert "have no classes, extract the archive again" in message


def test_a_table_that_lists_an_image_which_is_not_there(data_root: Path, write_dataset) -> None:
    stock = write_dataset("tiny_imagenet stock")
    (data_root / TINY / "images/val_11.JPEG").unlink()
    (data_root / TINY / "images/val_2.JPEG").unlink()
    message = refused(stock)
    assert f"{TINY}/images/val_11.JPEG: not found, though val_annotations.txt lists it" in message
    assert "(2 in all)" in message


def test_a_table_of_another_form(data_root: Path, write_dataset) -> None:
    stock = write_dataset("tiny_imagenet stock")
    write(data_root, f"{TINY}/val_annotations.txt", "val_1.JPEG n01443537")
    assert "expected image<TAB>wnid in every line" in refused(stock)


def test_stock_and_sorted_validation_images_are_the_same_set(
    data_root: Path, write_dataset
) -> None:
    """Same classes, labels, order and pixels; only the paths differ."""
    stock = open_miniature(write_dataset("tiny_imagenet stock"))
    pixels = [stock.decode(n).pixels for n in range(len(stock.items))]
    for item in stock.items:
        name = Path(item.source).name
        target = data_root / TINY / stock.classes[item.label].class_id / name
        target.parent.mkdir(exist_ok=True)
        (data_root / item.source).rename(target)
    (data_root / TINY / "images").rmdir()
    sorted_ = open_set("tiny_imagenet")
    assert [i.label for i in sorted_.items] == [i.label for i in stock.items]
    assert sorted_.classes == stock.classes
    for number, expected in enumerate(pixels):
        np.testing.assert_array_equal(sorted_.decode(number).pixels, expected)


@pytest.mark.parametrize("case", ["tiny_imagenet regrouped", "imagenet val", "imagenet_a"])
def test_a_folder_that_is_no_wnid_is_named(data_root: Path, write_dataset, case: str) -> None:
    miniature = write_dataset(case)
    base = (data_root / miniature.sources[0]).parents[1]
    photos(base, ["extra/x.jpg", "__MACOSX/x.jpg"])
    assert f"{base}: 'extra' is no class of ImageNet-1k (1 in all); remove" in refused(miniature)


# ImageNet


def test_an_unsorted_validation_folder(data_root: Path) -> None:
    photos(data_root, ["imagenet/val/ILSVRC2012_val_00000001.JPEG"])
    with pytest.raises(UserError, match="val: the images are not sorted by class; move") as caught:
        open_set("imagenet")
    assert f"in {data_root} run python -c 'from torchvision.datasets import ImageNet; Im" in str(
        caught.value
    )
    assert '("imagenet", "val")' in str(caught.value)


@pytest.mark.parametrize("name", ["1000", "x7", "-1", "007"])
def test_a_folder_of_imagenet_v2_that_is_no_label(
    data_root: Path, write_dataset, name: str
) -> None:
    miniature = write_dataset("imagenet_v2")
    (data_root / Path(miniature.sources[0]).parents[1] / name).mkdir()
    assert f"/{name}: no label of ImageNet, 0 to 999 (1 folders are none)" in refused(miniature)


def test_a_thousand_wnids_have_a_thousand_names() -> None:
    """Crane, cardigan and maillot are two classes each, under names that differ."""
    wnids = all_wnids()
    assert wnids == sorted(wnids)
    assert len(set(wnids)) == 1000
    named = class_entries(wnids, "wordnet", Path("x"))
    assert [class_entry.class_id for class_entry in named] == wnids
    assert len({class_entry.name.lower() for class_entry in named}) == 1000
    names = {class_entry.class_id: class_entry.name for class_entry in named}
    assert names["n02012849"] == "crane bird"
    assert names["n03126707"] == "construction crane"
    assert names["n02113186"] == "Cardigan Welsh Corgi"
    assert names["n02963159"] == "cardigan"
    assert (names["n03710637"], names["n03710721"]) == ("tights", "one-piece bathing suit")


def test_openais_names_are_openais_two_of_them_twice() -> None:
    counts = Counter(
        class_entry.name for class_entry in class_entries(all_wnids(), "openai", Path("x"))
    )
    assert {name for name, number in counts.items() if number > 1} == {"missile", "sunglasses"}


def test_one_crane_alone_is_a_crane() -> None:
    """Names are told apart within a set only, as the reference's are."""
    assert class_entries(["n02012849", "n01443537"], "wordnet", Path("x"))[0].name == "crane"


def test_openais_names_can_be_asked_for(write_dataset) -> None:
    source = open_miniature(write_dataset("imagenet val"), names="openai")
    assert [class_entry.name for class_entry in source.classes] == [
        "goldfish", "crane bird", "Persian cat", "construction crane"
    ]  # fmt: skip


# the others


def test_caltechs_background_is_no_class_and_its_faces_are_two(write_dataset) -> None:
    source = open_miniature(write_dataset("caltech101"))
    names = {class_entry.class_id: class_entry.name for class_entry in source.classes}
    assert "BACKGROUND_Google" not in names
    assert (names["Faces"], names["Faces_easy"]) == ("face", "centered face")
    assert not [item for item in source.items if "BACKGROUND" in item.source]


def test_a_car_keeps_its_year(write_dataset) -> None:
    names = [
        class_entry.name for class_entry in open_miniature(write_dataset("stanford_cars")).classes
    ]
    assert {"Audi S4 Sedan 2007", "Audi S4 Sedan 2012"} < set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("case", "file"),
    [
        ("cifar10", "cifar-10-batches-py/test_batch"),
        ("cifar10", "cifar-10-batches-py/data_batch_3"),
        ("cifar10", "cifar-10-batches-py/batches.meta"),
        ("cifar100", "cifar-100-python/test"),
        ("stl10", "stl10_binary/test_X.bin"),
        ("stl10", "stl10_binary/unlabeled_X.bin"),
        ("flowers102", "flowers-102/setid.mat"),
        ("pcam", "pcam/camelyonpatch_level_2_split_test_x.h5"),
        ("stanford_cars", "stanford_cars/devkit/cars_meta.mat"),
    ],
)
def test_a_file_that_was_cut_off_is_one_line(
    data_root: Path, write_dataset, case: str, file: str
) -> None:
    """By its checksum where torchvision knows one, by the library that reads it elsewhere."""
    miniature = write_dataset(case)
    content = (data_root / file).read_bytes()
    (data_root / file).write_bytes(content[: len(content) // 2])
    message = refused(miniature)
    assert "cannot be read: " in message
    assert message.startswith(f"{data_root}: ")
    assert message.endswith("extract the archive again")
    assert "download=True" not in message


def test_as_many_labels_as_images(data_root: Path, write_dataset) -> None:
    """Of PatchCamelyon, whose files are two, without a checksum once they are unpacked."""
    miniature = write_dataset("pcam")
    with h5py.File(data_root / "pcam/camelyonpatch_level_2_split_test_y.h5", "w") as file:
        file["y"] = np.zeros((6, 1, 1, 1), dtype=np.uint8)
    assert "there are 5 images and 6 labels; extract the archive again" in refused(miniature)


@pytest.mark.parametrize("case", ["food101", "dtd", "fgvc_aircraft", "oxford_pets", "flowers102"])
def test_an_image_that_the_list_names_but_is_not_there(
    data_root: Path, write_dataset, case: str
) -> None:
    """A half-extracted archive whose lists are whole."""
    miniature = write_dataset(case)
    (data_root / miniature.sources[1]).unlink()
    total = len(miniature.sources)
    with pytest.raises(UserError) as caught:
        pack(open_miniature(miniature, size=16), "s", Path("images"), Path("classes.parquet"))
    assert (
        f"s: 1 of {total} images cannot be read: {miniature.sources[1]} (file not found); replace"
        in str(caught.value)
    )


@pytest.mark.parametrize(
    ("kind", "case"), [(CIFAR10, "cifar10"), (STL10, "stl10"), (Flowers102, "flowers102")]
)
def test_the_publishers_checksums_count(write_dataset, monkeypatch, kind: type, case: str) -> None:
    """A miniature is not the published file, and without its own checksums it is refused."""
    parts = [name for name in ("train_list", "test_list", "_file_dict") if hasattr(kind, name)]
    published = {name: getattr(kind, name) for name in parts}
    miniature = write_dataset(case)
    for name, value in published.items():
        monkeypatch.setattr(kind, name, value)
    assert "cannot be read: Dataset not found or corrupted; extract" in refused(miniature)


@pytest.mark.parametrize("name", ["class_names.txt", "unlabeled_X.bin"])
def test_a_part_of_stl_that_people_delete_is_named(
    data_root: Path, write_dataset, name: str
) -> None:
    miniature = write_dataset("stl10")
    (data_root / "stl10_binary" / name).unlink()
    assert f"STL-10 (test) is missing: no stl10_binary/{name} in" in refused(miniature)


def test_a_list_that_lacks_a_class_is_refused(data_root: Path, write_dataset) -> None:
    """torchvision numbers the breeds that the list names: without one, later images would have
    the next one's name."""
    miniature = write_dataset("oxford_pets")
    lines = ["Abyssinian_101 1 1 1", "Egyptian_Mau_139 3 1 3"]
    write(data_root, "oxford-iiit-pet/annotations/test.txt", *lines)
    assert "Oxford-IIIT Pet: label 2 is out of range, there are 2 classes" in refused(miniature)


def test_an_image_of_a_class_that_the_list_does_not_know(data_root: Path, write_dataset) -> None:
    miniature = write_dataset("sun397")
    photos(data_root, ["SUN397/z/zoo/sun_x.jpg"])
    assert "SUN397 cannot be read: 'zoo'; extract the archive again" in refused(miniature)


def test_hidden_files_and_folders_are_no_images(data_root: Path, write_dataset) -> None:
    """Such as editors and file managers leave behind."""
    miniature = write_dataset("imagenet_r")
    folder = (data_root / miniature.sources[0]).parent
    photos(folder, [".ipynb_checkpoints/a.jpg", "._b.jpg", "../.cache/x.jpg"])
    assert [item.source for item in open_miniature(miniature).items] == miniature.sources

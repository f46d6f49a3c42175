"""Data sets of image files whose classes and splits stand in lists of their own."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import DTD, SUN397, FGVCAircraft, Flowers102, Food101, OxfordIIITPet
from torchvision.datasets import StanfordCars as Cars

from tests.support.dataset_fixtures.base import Miniature, Pairs, md5, noise, photos, write


def result(
    source: str,
    split: str,
    names: Mapping[str, str],
    files: Sequence[tuple[int, str]],
    pictures: Sequence[Image.Image],
    reference: Callable[[], Any],
    **changes: Any,
) -> Miniature:
    """What is expected of files with labels, in the set's order; names: class id -> name."""
    ids = list(names)

    def pairs() -> Pairs:
        dataset = reference()
        return [(picture, dataset.classes[label]) for picture, label in dataset]

    return Miniature(
        source, split, ids, list(names.values()), [label for label, _ in files],
        [source for _, source in files], pictures, changes, pairs,
    )  # fmt: skip


def food101(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """images/<class>/<number>.jpg, JSON and text lists, and a training image to leave alone."""
    names = {"apple_pie": "apple pie", "hot_and_sour_soup": "hot and sour soup", "ramen": "ramen"}
    files = [(0, "apple_pie/1011328"), (0, "apple_pie/98352"), (1, "hot_and_sour_soup/100"),
             (2, "ramen/5"), (2, "ramen/77")]  # fmt: skip
    listed = [(label, f"food-101/images/{name}.jpg") for label, name in files]
    pictures = photos(root, [source for _, source in listed])
    photos(root, ["food-101/images/ramen/1.jpg"])
    for split, split_files in (("test", files[::-1]), ("train", [(2, "ramen/1")])):
        table: dict[str, list[str]] = {}
        for label, name in split_files:
            table.setdefault(list(names)[label], []).append(name)
        write(root, f"food-101/meta/{split}.json", json.dumps(table))
        write(root, f"food-101/meta/{split}.txt", *(name for _, name in split_files))
    write(root, "food-101/meta/classes.txt", *names)
    return result("food101", "test", names, listed, pictures, lambda: Food101(root, split="test"))


def oxford_pets(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """annotations/{trainval,test}.txt; a GIF, a PNG and a CMYK file under the name of a JPEG."""
    names = {"Abyssinian": "Abyssinian", "American Bulldog": "American Bulldog",
             "Egyptian Mau": "Egyptian Mau"}  # fmt: skip
    folder = "oxford-iiit-pet/images"
    files = [(0, "Abyssinian_101"), (0, "Abyssinian_5"), (2, "Egyptian_Mau_139"),
             (2, "Egyptian_Mau_145"), (1, "american_bulldog_203")]  # fmt: skip
    files = sorted(files, key=lambda row: row[0])
    listed = [(label, f"{folder}/{name}.jpg") for label, name in files]
    pictures = photos(root, [source for _, source in listed])
    for number, kind in ((0, "PNG"), (3, "GIF"), (4, "CMYK")):
        path, picture = root / listed[number][1], Image.fromarray(noise(number, 40, 30))
        picture.convert("CMYK" if kind == "CMYK" else "RGB").save(
            path, "JPEG" if kind == "CMYK" else kind
        )
        with Image.open(path) as file:
            pictures[number] = file.convert("RGB")
    lines = [f"{name} {label + 1} {label % 2 + 1} 1" for label, name in reversed(files)]
    write(root, "oxford-iiit-pet/annotations/test.txt", *lines)
    write(root, "oxford-iiit-pet/annotations/trainval.txt", "Abyssinian_9 1 1 1")
    return result("oxford_pets", "test", names, listed, pictures,
                  lambda: OxfordIIITPet(root, split="test"))  # fmt: skip


def flowers102(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """MATLAB files, labels and image numbers from 1; three of the 102 classes."""
    folder, label_of = root / "flowers-102", {0: 0, 1: 1, 11: 2}
    labels = {1: 11, 2: 0, 3: 1, 4: 11, 5: 0, 6: 1}  # image number -> label
    test = [6, 4, 2, 1]
    files = sorted((label_of[labels[n]], f"flowers-102/jpg/image_{n:05d}.jpg") for n in test)
    pictures = photos(root, [source for _, source in files])
    values = np.array([[labels[n] + 1 for n in sorted(labels)]], dtype=np.uint8)
    savemat(folder / "imagelabels.mat", {"labels": values})
    ids = {"trnid": [3], "valid": [5], "tstid": test}
    savemat(folder / "setid.mat", {k: np.array([v], dtype=np.uint16) for k, v in ids.items()})
    known = {
        key: (name, md5(folder / name) if name.endswith(".mat") else old)
        for key, (name, old) in Flowers102._file_dict.items()
    }
    patch.setattr(Flowers102, "_file_dict", known)
    names = {"pink primrose": "pink primrose",
             "hard-leaved pocket orchid": "hard leaved pocket orchid",
             "colt's foot": "colt's foot"}  # fmt: skip
    return result("flowers102", "test", names, files, pictures,
                  lambda: Flowers102(root, split="test"), classes=list(names))  # fmt: skip


def dtd(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """images/<class>/*.jpg with ten partitions' lists, of which the first counts."""
    names = {"banded": "banded", "crosshatched": "crosshatched", "polka-dotted": "polka dotted"}
    files = [(0, "banded/banded_0002.jpg"), (0, "banded/banded_0010.jpg"),
             (1, "crosshatched/crosshatched_0001.jpg"),
             (2, "polka-dotted/polka-dotted_0206.jpg")]  # fmt: skip
    listed = [(label, f"dtd/dtd/images/{name}") for label, name in files]
    pictures = photos(root, [source for _, source in listed])
    photos(root, ["dtd/dtd/images/banded/banded_0001.jpg"])
    write(root, "dtd/dtd/labels/test1.txt", *(name for _, name in reversed(files)))
    write(root, "dtd/dtd/labels/test2.txt", "banded/banded_0001.jpg")
    write(root, "dtd/dtd/labels/train1.txt", "banded/banded_0001.jpg")
    return result("dtd", "test", names, listed, pictures, lambda: DTD(root, split="test"))


def fgvc_aircraft(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """images/<number>.jpg; variants with hyphens, slashes and spaces, not in sorted order."""
    data, variants = "fgvc-aircraft-2013b/data", ["707-320", "F/A-18", "DH-82", "Boeing 717"]
    files = [(0, "1025794"), (0, "1340192"), (1, "0056978"), (2, "2000001"), (3, "0034309")]
    listed = [(label, f"{data}/images/{number}.jpg") for label, number in files]
    pictures = photos(root, [source for _, source in listed])
    lines = [f"{number} {variants[label]}" for label, number in reversed(files)]
    write(root, f"{data}/variants.txt", *variants)
    write(root, f"{data}/images_variant_test.txt", *lines)
    write(root, f"{data}/images_variant_train.txt", "0034309 Boeing 717")
    return result("fgvc_aircraft", "test", {name: name for name in variants}, listed, pictures,
                  lambda: FGVCAircraft(root, split="test"))  # fmt: skip


def stanford_cars(root: Path, patch: pytest.MonkeyPatch, split: str = "test") -> Miniature:
    """MATLAB structs, labels from 1 as uint8; the year belongs to the class."""
    folder = root / "stanford_cars"
    names = ["AM General Hummer SUV 2000", "Audi S4 Sedan 2007", "Audi S4 Sedan 2012",
             "Ram C/V Cargo Van Minivan 2012"]  # fmt: skip
    files = [(0, "00004"), (1, "00002"), (1, "00005"), (2, "00003"), (3, "00001")]
    listed = [(label, f"stanford_cars/cars_{split}/{number}.jpg") for label, number in files]
    pictures = photos(root, [source for _, source in listed])
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    rows = np.zeros((1, len(files)), dtype=[(name, "O") for name in fields])
    for column, (label, number) in enumerate(sorted(files, key=lambda file: file[1])):
        rows[0, column] = (1, 1, 20, 20, np.uint8(label + 1), f"{number}.jpg")
    (folder / "devkit").mkdir()
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array([names], dtype=object)})
    annotations = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    savemat(folder / annotations[split], {"annotations": rows})
    return result("stanford_cars", split, {name: name for name in names}, listed, pictures,
                  lambda: Cars(root, split=split))  # fmt: skip


def sun397(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """ClassName.txt, and classes that lie in a folder of their own or below another one."""
    names = {"abbey": "abbey", "apartment_building/outdoor": "apartment building outdoor",
             "church/indoor": "church indoor", "church/outdoor": "church outdoor",
             "wine_cellar/barrel_storage": "wine cellar barrel storage"}  # fmt: skip
    files = [(0, "sun_aaalbzqrimafwbiv"), (0, "sun_aaaulhwrhqgejnyt"), (1, "sun_a"),
             (2, "sun_b"), (3, "sun_a"), (3, "sun_c"), (4, "sun_z")]  # fmt: skip
    ids = list(names)
    listed = [(label, f"SUN397/{ids[label][0]}/{ids[label]}/{name}.jpg") for label, name in files]
    pictures = photos(root, [source for _, source in listed])
    photos(root, ["SUN397/a/abbey/other.jpg"])
    write(root, "SUN397/ClassName.txt", *(f"/{name[0]}/{name}" for name in ids))
    return result("sun397", "all", names, listed, pictures, lambda: SUN397(root))

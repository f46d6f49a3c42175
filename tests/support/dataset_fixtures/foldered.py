"""Data sets whose classes are folders."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import Caltech101, Country211, EuroSAT, ImageFolder

from tests.support.dataset_fixtures.base import Miniature, Pairs, photos, write

WNIDS = {"n01443537": "goldfish", "n02012849": "crane bird", "n02123394": "Persian cat",
         "n03126707": "construction crane"}  # fmt: skip  # sorted; two of them are "crane"
COUNTRIES = {"AD": "Andorra", "DE": "Germany", "GB": "United Kingdom", "US": "United States",
             "XK": "Kosovo"}  # fmt: skip
LAND = {
    "AnnualCrop": "annual crop land",
    "Forest": "forest",
    "HerbaceousVegetation": "herbaceous vegetation",
    "Highway": "highway or road",
    "Industrial": "industrial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings",
    "River": "river",
    "SeaLake": "sea or lake",
}


def folders(
    root: Path,
    source: str,
    split: str,
    base: str,
    names: Mapping[str, str],
    files: Callable[[str], Sequence[str]],
    side: int | None = None,
    reference: Callable[[], Pairs] | None = None,
) -> Miniature:
    """<base>/<class id>/<file>, files(class id) in the set's order; names: class id -> name."""
    listed = [(k, f"{base}/{name}/{file}") for k, name in enumerate(names) for file in files(name)]
    sources = [path for _, path in listed]
    pictures = photos(root, sources, side)

    def by_torchvision() -> Pairs:
        dataset = ImageFolder(root / base)
        return [(picture, dataset.classes[label]) for picture, label in dataset]

    return Miniature(
        source, split, list(names), list(names.values()), [label for label, _ in listed],
        sources, pictures, {}, reference or by_torchvision,
    )  # fmt: skip


def eurosat(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """2750/<Class>/<Class>_<number>.jpg; "10" comes before "2"."""

    def pairs() -> Pairs:
        dataset = EuroSAT(root)
        return [(picture, dataset.classes[label]) for picture, label in dataset]

    return folders(root, "eurosat", "all", "eurosat/2750", LAND,
                   lambda name: [f"{name}_{n}.jpg" for n in (1, 10, 2)], 64, pairs)  # fmt: skip


def country211(root: Path, patch: pytest.MonkeyPatch, split: str = "test") -> Miniature:
    """<split>/<ISO code>/*.jpg."""

    def pairs() -> Pairs:
        dataset = Country211(root, split=split)
        return [(picture, dataset.classes[label]) for picture, label in dataset]

    return folders(root, "country211", split, f"country211/{split}", COUNTRIES,
                   lambda name: ["a1.jpg", "b2.jpg"], None, pairs)  # fmt: skip


def caltech101(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """101_ObjectCategories with the folder of clutter, and what people leave in it."""
    names = {"Faces": "face", "Faces_easy": "centered face", "Leopards": "leopard",
             "accordion": "accordion", "car_side": "side of a car", "crocodile_head":
             "crocodile head"}  # fmt: skip
    base = "caltech101/101_ObjectCategories"
    photos(root, [f"{base}/BACKGROUND_Google/image_{n:04d}.jpg" for n in (1, 2)])
    write(root, f"{base}/BACKGROUND_Google/tmp", "not an image")

    def pairs() -> Pairs:
        dataset = Caltech101(root)
        return [(picture, dataset.categories[label]) for picture, label in dataset]

    return folders(root, "caltech101", "all", base, names,
                   lambda name: ["image_0001.jpg", "image_0002.jpg"], None, pairs)  # fmt: skip


def caltech256(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """<number>.<class> folders with a class of clutter, and what the published archive has besides:
    two empty folders and a file that is no image."""
    names = {"001.ak47": "ak47", "002.american-flag": "american flag", "056.dog": "dog",
             "198.spider": "spider", "251.airplanes-101": "airplanes",
             "257.clutter": "clutter"}  # fmt: skip
    base = "caltech256/256_ObjectCategories"
    (root / base / "056.dog/greg/vision309").mkdir(parents=True)
    write(root, f"{base}/198.spider/RENAME2", "#!/bin/sh")
    return folders(root, "caltech256", "all", base, names,
                   lambda name: [f"{name[:3]}_000{n}.jpg" for n in (1, 2)])  # fmt: skip


def wnids(source: str, base: str, split: str = "test", ending: str = "jpg"):
    """A writer of <base>/<wnid>/*, with the text file that lies beside the folders."""

    def writer(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
        write(root, f"{base}/README.txt", "these folders are classes")
        return folders(root, source, split, base, WNIDS,
                       lambda wnid: [f"{wnid}_10.{ending}", f"{wnid}_9.{ending}"])  # fmt: skip

    return writer


imagenet_a = wnids("imagenet_a", "imagenet-a")
imagenet_r = wnids("imagenet_r", "imagenet-r")
imagenet_o = wnids("imagenet_o", "imagenet-o")
imagenet_sketch = wnids("imagenet_sketch", "imagenet-sketch", ending="JPEG")
imagenet_train = wnids("imagenet", "imagenet/train", "train", "JPEG")
imagenet_val = wnids("imagenet", "imagenet/val", "val", "JPEG")


def imagenet_v2(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """Folders 0, 2, 10 and 134: as strings, 10 comes before 2. A folder's number is a label."""
    base = "imagenetv2-matched-frequency-format-val"
    numbers = {"0": ("n01440764", "tench"), "2": ("n01484850", "great white shark"),
               "10": ("n01530575", "brambling"), "134": ("n02012849", "crane")}  # fmt: skip
    sources = [f"{base}/{n}/{file}.jpeg" for n in numbers for file in ("0a", "7c")]
    pictures = photos(root, sources)
    ids, names = zip(*numbers.values(), strict=True)
    return Miniature("imagenet_v2", "test", ids, names, [k // 2 for k in range(8)], sources,
                     pictures)  # fmt: skip


def tiny_stock(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """The validation images in one folder, their classes in val_annotations.txt."""
    base, ids = "tiny-imagenet-200/val", list(WNIDS)
    rows = [(0, 1), (0, 11), (1, 2), (2, 0), (2, 3), (3, 10)]  # label, number of the image
    sources = [f"{base}/images/val_{number}.JPEG" for _, number in rows]
    pictures = photos(root, sources, 64)
    grey = root / sources[2]  # some of them are
    pictures[2].convert("L").save(grey)
    with Image.open(grey) as file:
        pictures[2] = file.convert("RGB")
    lines = [f"val_{n}.JPEG\t{ids[k]}\t0\t32\t44\t62" for k, n in reversed(rows)]
    write(root, f"{base}/val_annotations.txt", *lines)
    return Miniature("tiny_imagenet", "val", ids, list(WNIDS.values()), [k for k, _ in rows],
                     sources, pictures)  # fmt: skip


def tiny_regrouped(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """The validation images as people sort them."""
    return folders(root, "tiny_imagenet", "val", "tiny-imagenet-200/val", WNIDS,
                   lambda wnid: ["val_1.JPEG", "val_10.JPEG"], 64)  # fmt: skip


def tiny_train(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """<wnid>/images/*.JPEG with a table of boxes beside the folder."""
    base = "tiny-imagenet-200/train"
    for wnid in WNIDS:
        write(root, f"{base}/{wnid}/{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t10\t63\t58")
    return folders(root, "tiny_imagenet", "train", base, WNIDS,
                   lambda wnid: [f"images/{wnid}_{n}.JPEG" for n in (0, 1)], 64)  # fmt: skip

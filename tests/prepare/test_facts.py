"""What is stated of the published data sets, against a second statement of it.

A wrong count would refuse a right data set, a wrong checksum every download of it.
"""

import pytest

from pipeline.common import registry

COMMON = "This is a photo of a {}"
# source: default split, its images, its classes, preprocessing, own template
STATED = {
    "tiny_imagenet": ("val", 10_000, 200, "crop", COMMON),
    "imagenet": ("val", 50_000, 1_000, "crop", COMMON),
    "cifar10": ("test", 10_000, 10, "stretch", COMMON),
    "cifar100": ("test", 10_000, 100, "stretch", COMMON),
    "stl10": ("test", 8_000, 10, "stretch", COMMON),
    "sun397": ("all", 108_754, 397, "crop", COMMON),
    "food101": ("test", 25_250, 101, "crop", "A photo of {}, a type of food."),
    "oxford_pets": ("test", 3_669, 37, "crop", "A photo of a {}, a type of pet."),
    "flowers102": ("test", 6_149, 102, "crop", "A photo of a {}, a type of flower."),
    "dtd": ("test", 1_880, 47, "crop", "A surface with a {} texture."),
    "eurosat": ("all", 27_000, 10, "crop", "A centered satellite photo of {}."),
    "fgvc_aircraft": ("test", 3_333, 100, "crop", "A photo of a {}, a type of aircraft."),
    "caltech101": ("all", 8_677, 101, "crop", COMMON),
    "caltech256": ("all", 30_607, 257, "crop", "A photo of a {}."),
    "stanford_cars": ("test", 8_041, 196, "crop", "A photo of a {}."),
    "pcam": ("test", 32_768, 2, "crop", "This is a photo of {}."),
    "country211": ("test", 21_100, 211, "crop", COMMON),
    "imagenet_a": ("test", 7_500, 200, "crop", COMMON),
    "imagenet_r": ("test", 30_000, 200, "crop", COMMON),
    "imagenet_o": ("test", 2_000, 200, "crop", COMMON),
    "imagenet_v2": ("test", 10_000, 1_000, "crop", COMMON),
    "imagenet_sketch": ("test", 50_889, 1_000, "crop", COMMON),
}
TRAINING = {
    ("tiny_imagenet", "train"): 100_000, ("imagenet", "train"): 1_281_167,
    ("cifar10", "train"): 50_000, ("cifar100", "train"): 50_000, ("stl10", "train"): 5_000,
    ("food101", "train"): 75_750, ("oxford_pets", "trainval"): 3_680,
    ("flowers102", "train"): 1_020, ("flowers102", "val"): 1_020, ("dtd", "train"): 1_880,
    ("dtd", "val"): 1_880, ("fgvc_aircraft", "train"): 3_334, ("fgvc_aircraft", "val"): 3_333,
    ("fgvc_aircraft", "trainval"): 6_667, ("stanford_cars", "train"): 8_144,
    ("pcam", "train"): 262_144, ("pcam", "val"): 32_768, ("country211", "train"): 31_650,
    ("country211", "valid"): 10_550,
}  # fmt: skip
# checksums that this project states itself; the others are torchvision's
MD5 = {
    "tiny_imagenet": "90528d7ca1a48142e341f4ef8d21d0de",
    "eurosat": "c8fa014336c82ac7804f0398fcb19387",
    "caltech101": "3138e1922a9193bfa496528edbbc45d0",
    "caltech256": "67b4f42ca05d46448c6bb8ecd2220f6d",
}


def facts(source: str):
    return registry.load("pipeline.datasets", source, "test").FACTS


@pytest.mark.parametrize("source", STATED)
def test_split_counts_preprocessing_and_template(source: str) -> None:
    source_facts = facts(source)
    split = source_facts.splits[source_facts.split]
    stated = (
        source_facts.split,
        split.images,
        split.classes,
        source_facts.resize,
        *source_facts.templates,
    )
    assert stated == STATED[source]


def test_further_splits() -> None:
    source_facts = {
        (source, name): split.images
        for source in STATED
        for name, split in facts(source).splits.items()
        if name != facts(source).split
    }
    assert source_facts == TRAINING


@pytest.mark.parametrize("source", MD5)
def test_own_checksums(source: str) -> None:
    assert [archive.md5 for archive in facts(source).archives] == [MD5[source]]

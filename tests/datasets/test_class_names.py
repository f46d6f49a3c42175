"""Class names as texts: frozen, readable, and each with its own images and id."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import Flowers102
from torchvision.models._meta import _IMAGENET_CATEGORIES

from pipeline.datasets import caltech101, eurosat, pcam
from pipeline.datasets.country211 import country
from pipeline.prepare.wnids import all_wnids, class_entries
from tests.support.dataset_fixtures import WRITERS, open_miniature
from tests.support.dataset_fixtures.base import open_set, photos, write

# the two whose published names have a slash: F/A-18, Ram C/V
WITH_SLASH = {"fgvc_aircraft", "stanford_cars"}


def digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def imagenet(names: str) -> list[str]:
    entries = class_entries(all_wnids(), names, Path("x"))  # type: ignore[arg-type]
    return [f"{entry.class_id} {entry.name}" for entry in entries]


def unreadable(name: str) -> bool:
    """ "/s/subway station", "AnnualCrop", "s subway", "wine_cellar": as folders are called."""
    return bool(re.search(r"[a-z][A-Z]|[/_]|(^|\s)[B-Zb-z](\s|$)", name)) or name != name.strip()


# names that do not lie beside the images but come from code, here or in a library
def test_names_that_code_brings_along_are_frozen() -> None:
    """Each hash is `digest` of what the libraries and this project give; another one means that
    texts, and with them accuracies, changed."""
    assert digest(imagenet("wordnet")) == "a6bb0afec86b9fb0"
    assert digest(imagenet("openai")) == "51b5b1d8b8005020"
    assert digest(sorted(Flowers102.classes)) == "0d06da9cebdd7385"
    assert eurosat.NAMES["SeaLake"] == "sea or lake"
    assert digest(f"{key} {name}" for key, name in eurosat.NAMES.items()) == "59bd79f03bfc213f"
    assert digest(f"{key} {name}" for key, name in caltech101.NAMES.items()) == "2f2322cef62f001b"
    assert [entry.name for entry in pcam.CLASSES] == [
        "healthy lymph node tissue", "lymph node tumor tissue",
    ]  # fmt: skip
    codes = ["AD", "CI", "GB", "KR", "US", "XK"]
    assert [country(code) for code in codes] == [
        "Andorra", "Côte d’Ivoire", "United Kingdom", "South Korea", "United States", "Kosovo",
    ]  # fmt: skip


@pytest.mark.parametrize("case", WRITERS)
def test_a_name_is_words_and_no_name_of_a_folder(case: str, write_dataset) -> None:
    miniature = write_dataset(case)
    names = [entry.name for entry in open_miniature(miniature).classes]
    if miniature.source in WITH_SLASH:
        names = [re.sub(r"\b[A-Z]/[A-Z]\b", "", name) for name in names]
    assert [name for name in names if unreadable(name)] == []


def test_names_from_tables_are_words() -> None:
    whole = [line.partition(" ")[2] for line in imagenet("wordnet")]
    names = [*whole, *eurosat.NAMES.values(), *caltech101.NAMES.values()]
    assert [name for name in names if unreadable(name)] == ["EntleBucher", "iPod", "Model T"]
    for name in ("AnnualCrop", "/s/subway_station/platform", "s subway", "wine_cellar", " a"):
        assert unreadable(name)


def test_a_thousand_wnids_have_the_names_of_their_labels() -> None:
    """Against torchvision's list by label, which is another statement of the order: every name
    shares a word with the lemmas of the wnid, and hardly any with those of its neighbour."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    lemmas = [words(info.label_name_to_description(wnid)) for wnid in all_wnids()]
    by_label = [words(name) for name in _IMAGENET_CATEGORIES]
    named = [words(line.partition(" ")[2]) for line in imagenet("wordnet")]
    assert sum(bool(a & b) for a, b in zip(by_label, lemmas, strict=True)) == 1000
    assert sum(bool(a & b) for a, b in zip(named, by_label, strict=True)) > 950
    assert sum(bool(a & b) for a, b in zip(named[1:], by_label[:-1], strict=True)) < 200


def words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))


def test_two_hundred_of_them_keep_theirs() -> None:
    """As Tiny-ImageNet has: a name follows from the wnid, not from the place in the list."""
    some = all_wnids()[::5]
    whole = dict(line.split(" ", 1) for line in imagenet("wordnet"))
    for order in (some, some[::-1]):
        entries = class_entries(order, "wordnet", Path("x"))
        assert [entry.class_id for entry in entries] == order
        changed = {e.class_id for e in entries if e.name != whole[e.class_id]}
        assert len(changed) <= 3, "crane, cardigan and maillot alone need no telling apart"


def test_cheesecake_and_cheese_plate_are_not_swapped(data_root: Path) -> None:
    """Food-101 lists "cheesecake" before "cheese_plate"; sorted, "_" comes before "c"."""
    listed = {"cheesecake": ["cheesecake/1", "cheesecake/2"], "cheese_plate": ["cheese_plate/3"],
              "apple_pie": ["apple_pie/4"]}  # fmt: skip
    files = [name for names in listed.values() for name in names]
    paths = [f"food-101/images/{file}.jpg" for file in files]
    pictures = dict(zip(files, photos(data_root, paths, 40), strict=True))
    for split in ("train", "test"):
        write(data_root, f"food-101/meta/{split}.json", json.dumps(listed))
        write(data_root, f"food-101/meta/{split}.txt", *files)
    write(data_root, "food-101/meta/classes.txt", *listed)
    source = open_set("food101", size=40, resize="native")
    by_id = {entry.class_id: entry.name for entry in source.classes}
    assert by_id == {"cheesecake": "cheesecake", "cheese_plate": "cheese plate",
                     "apple_pie": "apple pie"}  # fmt: skip
    assert [entry.class_id for entry in source.classes] != list(listed), "another order than meta's"
    assert len(source.items) == 4
    for number, item in enumerate(source.items):
        folder, name = Path(item.source).parent.name, Path(item.source).stem
        assert source.classes[item.label].class_id == folder
        expected = np.asarray(pictures[f"{folder}/{name}"]).transpose(2, 0, 1)
        np.testing.assert_array_equal(source.decode(number).pixels, expected)

"""Which classes and images of a published data set become the set."""

import numpy as np
import pytest

from pipeline.prepare.selection import sample_images
from tests.support.dataset_fixtures import open_miniature
from tests.support.dataset_fixtures.base import refused


def test_skip_and_images_per_class_are_disjoint_stable_samples(write_dataset) -> None:
    miniature = write_dataset("eurosat")
    first, second = open_miniature(miniature, images_per_class=1), open_miniature(miniature, skip=1)
    one = [item.source for item in first.items]
    others = [item.source for item in second.items]
    assert len(one) == 10
    assert set(one) | set(others) == set(miniature.sources)
    assert not set(one) & set(others)
    assert [item.source for item in open_miniature(miniature, images_per_class=1).items] == one
    part = open_miniature(miniature, images_per_class=1, classes=["River", "Forest"])
    assert {item.source for item in part.items} == {s for s in one if "River" in s or "Fore" in s}


def test_a_sample_is_not_the_first_files() -> None:
    """Files are often named in the order of taking."""
    kept = sample_images([0] * 100, ["a"], ["a"], 0, 10, "here")
    assert kept == sorted(kept)
    assert kept != list(range(10))
    assert kept == sample_images([0] * 100, ["a"], ["a"], 0, 10, "here")
    again = [sample_images([0] * 100, ["a"], ["a"], skip, 10, "here") for skip in range(0, 100, 10)]
    assert sorted(number for part in again for number in part) == list(range(100))


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        ("1:3", ["bird", "car"]),
        (":2", ["airplane", "bird"]),
        ("8:", ["ship", "truck"]),
        (["truck", "airplane"], ["truck", "airplane"]),
    ],
)
def test_classes_by_slice_and_by_list(write_dataset, chosen, ids: list[str]) -> None:
    """In the order asked for, each with its own images and pixels."""
    miniature = write_dataset("stl10")
    source = open_miniature(miniature, classes=chosen, size=96, resize="native")
    assert [class_entry.class_id for class_entry in source.classes] == ids
    numbers = [k for name in ids for k, label in enumerate(miniature.labels)
           if miniature.ids[label] == name]  # fmt: skip
    assert [item.source for item in source.items] == [miniature.sources[k] for k in numbers]
    for number, image in enumerate(numbers):
        expected = np.asarray(miniature.pictures[image]).transpose(2, 0, 1)
        np.testing.assert_array_equal(source.decode(number).pixels, expected)
        assert (
            source.classes[source.items[number].label].class_id
            == (miniature.ids[miniature.labels[image]])
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": "bird"}, "classes = 'bird': expected a slice such as 0:100"),
        ({"classes": "²:3"}, "classes = '²:3': expected a slice"),
        ({"classes": ":"}, "classes = ':': expected a slice"),
        ({"classes": "10:"}, "the slice 10: of 10 classes is empty"),
        ({"classes": []}, "classes is an empty list; null means all"),
        ({"classes": ["bird", "fish"]}, "there is no class 'fish' (1 absent in all)"),
        ({"skip": 2}, "class 'airplane' has only 1 images, none left after skip 2"),
    ],
)
def test_a_part_that_there_is_not(write_dataset, changes: dict, message: str) -> None:
    error = refused(write_dataset("stl10"), **changes)
    assert error.startswith("STL-10: ")
    assert message in error


def test_a_class_without_an_image_in_a_partial_list_is_named(write_dataset) -> None:
    """Flowers-102 has its 102 classes built in; the miniature shows three."""
    message = refused(write_dataset("flowers102"), classes=None)
    assert message == "Flowers-102: class 'canterbury bells' has no image"

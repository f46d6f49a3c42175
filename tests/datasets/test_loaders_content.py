"""Every published data set from its real form on disk: images, labels, names, order, pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.images.image_set import ImageSource
from tests.support.dataset_fixtures import WRITERS, Miniature, open_miniature, shuffle_disk

STRETCH = v2.Resize((224, 224))
CROP = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
STRETCHED = {"cifar10", "cifar100", "stl10"}  # as the reference does with these
SIDES = {"cifar10": 32, "cifar100": 32, "stl10": 96, "pcam": 96, "eurosat": 64,
         "tiny_imagenet": 64}  # fmt: skip
FIXED = [case for case in WRITERS if case.split()[0] in SIDES]


@pytest.fixture
def miniature(request, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Miniature:
    return WRITERS[request.param](data_root, monkeypatch)


every = pytest.mark.parametrize("miniature", WRITERS, indirect=True)


def chw(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


def assert_listed(source: ImageSource, expected: Miniature) -> None:
    assert [class_entry.class_id for class_entry in source.classes] == list(expected.ids)
    assert [class_entry.name for class_entry in source.classes] == list(expected.names)
    assert [item.label for item in source.items] == list(expected.labels)
    assert [item.source for item in source.items] == list(expected.sources)


def test_every_published_data_set_has_a_miniature() -> None:
    names = registry.names("pipeline.datasets")
    modules = {name: registry.load("pipeline.datasets", name, "test") for name in names}
    published = {name for name, module in modules.items() if hasattr(module, "FACTS")}
    assert {case.split()[0] for case in WRITERS} == published


@every
def test_images_labels_names_order_and_pixels(miniature: Miniature) -> None:
    """All of a set, with the preprocessing that the reference gives it."""
    source = open_miniature(miniature)
    assert_listed(source, miniature)
    transform = STRETCH if miniature.source in STRETCHED else CROP
    for number, picture in enumerate(miniature.pictures):
        np.testing.assert_array_equal(source.decode(number).pixels, chw(transform(picture)))


@pytest.mark.parametrize("miniature", FIXED, indirect=True)
def test_native_pixels_are_those_of_the_file(miniature: Miniature) -> None:
    facts = registry.load("pipeline.datasets", miniature.source, "test").FACTS
    assert facts.pixels == SIDES[miniature.source]
    source = open_miniature(miniature, size=SIDES[miniature.source], resize="native")
    for number, picture in enumerate(miniature.pictures):
        np.testing.assert_array_equal(source.decode(number).pixels, chw(picture))
    with pytest.raises(ValueError, match="resize: native needs 224 x 224"):
        open_miniature(miniature, resize="native").decode(0)


@every
def test_torchvision_alone_finds_the_same_images_in_the_same_classes(miniature: Miniature) -> None:
    """Against the library's own class; where it has none, or its class reads the form otherwise
    (ImageNet-V2's numbers, the stock Tiny-ImageNet), against the writer's list."""
    source = open_miniature(miniature, size=32, resize="stretch")
    small = v2.Resize((32, 32))
    if miniature.reference is None:
        pairs = [
            (picture, miniature.ids[label])
            for picture, label in zip(miniature.pictures, miniature.labels, strict=True)
        ]
    else:
        pairs = miniature.reference()
    expected = sorted((chw(small(picture)).tobytes(), name) for picture, name in pairs)
    ours = sorted(
        (source.decode(number).pixels.tobytes(), source.classes[item.label].class_id)
        for number, item in enumerate(source.items)
    )
    assert ours == expected
    assert len(set(ours)) == len(ours)  # no two pictures are the same, so none can hide another


@pytest.mark.parametrize("seed", [0, 1])
@every
def test_the_order_is_not_that_of_the_file_system(
    miniature: Miniature, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffle_disk(monkeypatch, seed)
    assert_listed(open_miniature(miniature), miniature)


@every
def test_a_set_that_is_smaller_than_published_is_refused(miniature: Miniature) -> None:
    """With the number that is there and the number that was published."""
    facts = registry.load("pipeline.datasets", miniature.source, "test").FACTS
    published = facts.splits[miniature.split]
    with pytest.raises(UserError) as caught:
        open_miniature(miniature, partial=False)
    message = str(caught.value)
    assert f"{facts.title} ({miniature.split}) has " in message
    assert f"has {len(miniature.pictures)} images there, {published.images} were" in message
    assert "partial: true" in message
    assert "\n" not in message


@every
def test_as_many_images_as_published_but_too_few_classes_are_refused(
    miniature: Miniature, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classes are counted too, where they are what is on disk."""
    facts = registry.load("pipeline.datasets", miniature.source, "test").FACTS
    split = facts.splits[miniature.split]
    sizes = {**facts.splits, miniature.split: split._replace(images=len(miniature.pictures))}
    monkeypatch.setitem(facts.__dict__, "splits", sizes)
    complete = len(miniature.ids) == split.classes or "classes" in miniature.changes
    if complete:
        assert len(open_miniature(miniature, partial=False).items) == len(miniature.pictures)
        return
    with pytest.raises(
        UserError, match=f"has {len(miniature.ids)} classes there, {split.classes} were published"
    ):
        open_miniature(miniature, partial=False)

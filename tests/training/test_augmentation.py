"""Augmented images against torchvision's, and which draws they follow from."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as reference

from pipeline.training.augmentation import AREA, ASPECT, _generator, augmented, crop_box, draw
from tests.support.training_runs import CPU

SIDE = 24


def random_images(count: int) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def on_device(kind, numbers, device=CPU, seed: int = 0, epoch: int = 0) -> list[Tensor]:
    arrays = draw(kind, np.asarray(numbers), SIDE, seed, epoch)
    return [torch.from_numpy(array).to(device) for array in arrays]


def boxes(count: int) -> np.ndarray:
    """(count, 4): top, left, height, width."""
    return np.array([crop_box(_generator(0, 0, n), SIDE) for n in range(count)])


def test_none_draws_nothing_and_copies_nothing():
    images = random_images(2)
    assert draw("none", np.arange(2), SIDE, 0, 0) == []
    assert augmented(images, "none", []) is images


def test_flip_mirrors_about_half_of_the_images(device):
    count = 400
    images = random_images(count)
    result = augmented(images.to(device), "flip", on_device("flip", range(count), device)).cpu()
    mirrored = [torch.equal(one, reference.hflip(image)) for one, image in zip(result, images)]  # noqa: B905
    same = [torch.equal(one, image) for one, image in zip(result, images)]  # noqa: B905
    assert all(a != b for a, b in zip(mirrored, same))  # noqa: B905
    assert 0.42 < np.mean(mirrored) < 0.58, "four standard deviations of 400 fair coins are 0.1"


def test_a_crop_is_torchvisions_of_the_same_box(device):
    count = 60
    images, drawn = random_images(count), boxes(count)
    assert len({tuple(box) for box in drawn}) > 20
    result = augmented(images.to(device), "crop", on_device("crop", range(count), device)).cpu()
    for image, box, one in zip(images, drawn.tolist(), result, strict=True):
        bicubic = InterpolationMode.BICUBIC
        expected = reference.resized_crop(image, *box, [SIDE, SIDE], bicubic, antialias=True)
        torch.testing.assert_close(one, expected.clamp(0, 1), rtol=0, atol=2e-6)
        if tuple(box) == (0, 0, SIDE, SIDE):
            assert torch.equal(one, image)
    assert 0 <= result.min() < result.max() <= 1


def test_crops_are_inside_the_image_and_as_often_of_a_size_as_torchvisions():
    count = 3000
    top, left, height, width = boxes(count).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= SIDE).all()
    assert (left + width <= SIDE).all()
    torch.manual_seed(0)
    image = random_images(1)[0]
    theirs = [RandomResizedCrop.get_params(image, list(AREA), list(ASPECT)) for _ in range(count)]
    for ours, other in zip((top, left, height, width), np.array(theirs).T, strict=True):
        error = np.sqrt((ours.var() + other.var()) / count)
        assert abs(ours.mean() - other.mean()) < 4 * error
        assert ours.std() > 0
    whole = [(h == SIDE) & (w == SIDE) for h, w in ((height, width), np.array(theirs).T[2:])]
    assert abs(whole[0].mean() - whole[1].mean()) < 0.05


@pytest.mark.parametrize("kind", ["flip", "crop"])
def test_an_image_is_augmented_alike_in_every_batch(kind, device):
    images, numbers = random_images(12).to(device), np.arange(100, 112)
    whole = augmented(images, kind, on_device(kind, numbers, device))
    for rows in (slice(0, 5), slice(5, 12), slice(3, 4)):
        part = augmented(images[rows], kind, on_device(kind, numbers[rows], device))
        assert torch.equal(part, whole[rows])
    order = np.random.default_rng(0).permutation(12)
    shuffled = augmented(images[order], kind, on_device(kind, numbers[order], device))
    assert torch.equal(shuffled, whole[order])
    assert not torch.equal(whole, images)


@pytest.mark.parametrize("kind", ["flip", "crop"])
def test_seed_epoch_and_number_each_give_other_draws(kind):
    images = random_images(1).expand(40, -1, -1, -1)
    first, again, seeded, later, others = (
        augmented(images, kind, on_device(kind, numbers, seed=seed, epoch=epoch))
        for numbers, seed, epoch in (
            (range(40), 0, 0), (range(40), 0, 0), (range(40), 1, 0), (range(40), 0, 1),
            (range(40, 80), 0, 0),
        )
    )  # fmt: skip
    assert torch.equal(first, again)
    for other in (seeded, later, others):
        apart = (first != other).flatten(1).any(1).float().mean()
        assert 0.2 < apart < 1 if kind == "flip" else apart > 0.2
    assert not torch.equal(first[0], first[1:].mean(0))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["flip", "crop"])
def test_a_gpu_gives_the_bits_of_the_cpu(kind):
    images, numbers = random_images(20), range(20)
    on_gpu = augmented(images.cuda(), kind, on_device(kind, numbers, torch.device("cuda")))
    assert torch.equal(on_gpu.cpu(), augmented(images, kind, on_device(kind, numbers)))

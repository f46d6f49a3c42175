"""Augmented images against torchvision's, and which draws they follow from."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as reference

from pipeline.training.augmentation import AREA, ASPECT, NUMBERS, augmented, crop_boxes, draw
from tests.support.training_runs import CPU

SIDE = 24


def random_images(count: int) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def on_device(kind, count, device=CPU, rows=slice(None), seed: int = 0, step: int = 0):
    arrays = draw(kind, count, rows, SIDE, seed, step)
    return [torch.from_numpy(array).to(device) for array in arrays]


def boxes(count: int) -> np.ndarray:
    """(count, 4): top, left, height, width, of step 0."""
    generator = np.random.Generator(np.random.Philox(counter=[0, 0, 0, 1], key=[0, 0]))
    return crop_boxes(generator.random((count, NUMBERS)), SIDE)


def test_none_draws_nothing_and_copies_nothing():
    images = random_images(2)
    assert draw("none", 2, slice(None), SIDE, 0, 0) == []
    assert augmented(images, "none", []) is images


def test_flip_mirrors_about_half_of_the_images(device):
    count = 400
    images = random_images(count)
    result = augmented(images.to(device), "flip", on_device("flip", count, device)).cpu()
    pairs = list(zip(result, images, strict=True))
    mirrored = [torch.equal(one, reference.hflip(image)) for one, image in pairs]
    same = [torch.equal(one, image) for one, image in pairs]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 0.42 < np.mean(mirrored) < 0.58, "four standard deviations of 400 fair coins are 0.1"


def test_a_crop_is_torchvisions_of_the_same_box(device):
    count = 60
    images, drawn = random_images(count), boxes(count)
    assert len({tuple(box) for box in drawn}) > 10
    result = augmented(images.to(device), "crop", on_device("crop", count, device)).cpu()
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
def test_a_part_of_the_batch_is_augmented_as_in_the_whole(kind, device):
    images = random_images(12).to(device)
    whole = augmented(images, kind, on_device(kind, 12, device))
    for rows in (slice(0, 5), slice(5, 12), slice(3, 4)):
        part = augmented(images[rows], kind, on_device(kind, 12, device, rows))
        assert torch.equal(part, whole[rows])
    assert not torch.equal(whole, images)


@pytest.mark.parametrize("kind", ["flip", "crop"])
def test_seed_step_and_place_each_give_other_draws(kind):
    images = random_images(1).expand(40, -1, -1, -1)
    first, again, seeded, later = (
        augmented(images, kind, on_device(kind, 40, seed=seed, step=step))
        for seed, step in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert torch.equal(first, again)
    for other in (seeded, later, first.roll(1, 0)):
        apart = (first != other).flatten(1).any(1).float().mean()
        assert 0.2 < apart < 0.8 if kind == "flip" else apart > 0.5


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["flip", "crop"])
def test_a_gpu_gives_the_bits_of_the_cpu(kind):
    images = random_images(20)
    on_gpu = augmented(images.cuda(), kind, on_device(kind, 20, torch.device("cuda")))
    assert torch.equal(on_gpu.cpu(), augmented(images, kind, on_device(kind, 20)))

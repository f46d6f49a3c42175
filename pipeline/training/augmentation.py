"""Augmentation of training images: `finetune.augmentation`.

    flip  mirrored left to right with probability 1/2
    crop  a random resized crop: 90 to 100 % of the area, aspect ratio 3/4 to 4/3, resized to the
          image's size by bicubic interpolation; never mirrored
`crop` is what open_clip 3 trains CLIP with by default (transform.py; Radford et al. 2021 had a
random square crop and nothing else), here of the prepared square image instead of the original one
and without rounding to 8 bits. Box and resampling are torchvision's RandomResizedCrop and Pillow's
bicubic filter; where ten drawn boxes do not fit, about every tenth time, the image stays whole.
The releases of TeCoA (1243db6) and FARE (d257a53) resize and crop the centre, and augment nothing.

Every draw follows from (seed, epoch, image number) alone, made by NumPy on the host: a resumed run,
another batch size per process and another number of processes see the same image.
Legend: b images of S x S pixels.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Augmentation = Literal["none", "flip", "crop"]
AREA, ASPECT = (0.9, 1.0), (3 / 4, 4 / 3)
TRIES = 10
TAPS = 4  # pixels along an axis that a bicubic sample is made from
CUBIC = -0.5  # Pillow's and, antialiased, torch's
STREAM = 1  # of a Philox key; the order of the epoch is drawn from stream 0


def draw(
    kind: Augmentation, numbers: np.ndarray, size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """What `augmented` needs beside the images, for upload.

    Args:
        numbers: (b,) image numbers in the training set; size: S.
    """
    if kind == "none":
        return []
    generators = [_generator(seed, epoch, int(number)) for number in numbers]
    if kind == "flip":
        return [np.array([generator.random() < 0.5 for generator in generators])]
    boxes = np.array([crop_box(generator, size) for generator in generators])
    top, left, height, width = boxes.T
    return [*_bicubic(top, height, size), *_bicubic(left, width, size)]


def augmented(images: Tensor, kind: Augmentation, drawn: Sequence[Tensor]) -> Tensor:
    """(b, 3, S, S) float32 pixels in [0, 1], augmented: the same range; `images` itself for none.

    Each image's bits are the same in every batch, and on every device.

    Args:
        drawn: by `draw`, on the images' device.
    """
    if kind == "none":
        return images
    if kind == "flip":
        return torch.where(drawn[0][:, None, None, None], images.flip(3), images)
    rows, row_weights, columns, column_weights = drawn
    images = _sampled(images, rows[:, None, :, None], row_weights[:, None, :, None], 2)
    images = _sampled(images, columns[:, None, None], column_weights[:, None, None], 3)
    return images.clamp_(0, 1)  # the filter has negative weights


def crop_box(generator: np.random.Generator, size: int) -> tuple[int, int, int, int]:
    """Top, left, height and width, in pixels, of a random crop of a square image."""
    for _ in range(TRIES):
        area = size**2 * generator.uniform(*AREA)
        aspect = math.exp(generator.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        height, width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if height <= size and width <= size:
            top = int(generator.integers(size - height + 1))
            return top, int(generator.integers(size - width + 1)), height, width
    return 0, 0, size, size


def _generator(seed: int, epoch: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(counter=[0, number, 0, STREAM], key=[seed, epoch]))


def _bicubic(start: np.ndarray, length: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions, int64, and weights, float32, both (b, S, TAPS), of the pixels that each of S
    samples of the `length` pixels from `start` on is made from; (b,) both."""
    first, end = start[:, None, None], (start + length)[:, None, None]
    centre = start[:, None] + (np.arange(size) + 0.5) * (length / size)[:, None]
    tap = np.floor(centre - 0.5).astype(np.int64)[..., None] + np.arange(TAPS) - 1
    weights = _cubic(np.abs(tap + 0.5 - centre[..., None])) * ((tap >= first) & (tap < end))
    weights /= weights.sum(2, keepdims=True)
    return np.clip(tap, first, end - 1), weights.astype(np.float32)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel at distances in [0, 2]."""
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x**2 + 1
    far = CUBIC * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, far)


def _sampled(images: Tensor, positions: Tensor, weights: Tensor, axis: int) -> Tensor:
    """The sum over taps of weighted pixels; positions, weights: the image's shape along `axis`,
    1 in the other two, TAPS behind. Sums tap by tap: elementwise, the bits depend on nothing."""
    result = torch.zeros_like(images)
    for tap in range(TAPS):
        index = positions[..., tap].expand_as(images)
        result += weights[..., tap] * images.gather(axis, index)
    return result

"""Augmentation of training images: `finetune.augmentation`.

    flip  mirrored left to right with probability 1/2
    crop  a random resized crop: 90 to 100 % of the area, aspect ratio 3/4 to 4/3, resized to the
          image's size by bicubic interpolation; never mirrored
`crop` is what open_clip 3 trains CLIP with by default (transform.py; Radford et al. 2021 had a
random square crop and nothing else), here of the prepared square image instead of the original one
and without rounding to 8 bits. Box and resampling are torchvision's RandomResizedCrop and Pillow's
bicubic filter; where ten drawn boxes do not fit, about every tenth time, the image stays whole.
The releases of TeCoA (1243db6) and FARE (d257a53) resize and crop the centre, and augment nothing.

Every draw follows from (seed, step) and the image's place in the whole batch, made by NumPy on the
host: a resumed run and any number of processes see the same images.
Legend: B images of S x S pixels in a batch, b of them this process's.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Augmentation = Literal["none", "flip", "crop"]
AREA, ASPECT = (0.9, 1.0), (3 / 4, 4 / 3)
TRIES = 10
NUMBERS = 2 * TRIES + 2  # drawn per image: area and aspect of every try, top, left
TAPS = 4  # pixels along an axis that a bicubic sample is made from
CUBIC = -0.5  # Pillow's and, antialiased, torch's
STREAM = 1  # of a Philox key; the order of an epoch is drawn from stream 0


def draw(
    kind: Augmentation, count: int, rows: slice, size: int, seed: int, step: int
) -> list[np.ndarray]:
    """What `augmented` needs beside the images, for upload: none, one or four arrays of b.

    Args:
        count: B; rows: this process's b of them; size: S.
    """
    if kind == "none":
        return []
    generator = np.random.Generator(np.random.Philox(counter=[0, 0, 0, STREAM], key=[seed, step]))
    uniform = generator.random((count, NUMBERS))[rows]
    if kind == "flip":
        return [uniform[:, 0] < 0.5]
    top, left, height, width = crop_boxes(uniform, size).T
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
    resized = _sampled(images, rows, row_weights)
    resized = _sampled(resized.mT.contiguous(), columns, column_weights).mT
    return resized.clamp(0, 1).contiguous()  # the filter has negative weights


def crop_boxes(uniform: np.ndarray, size: int) -> np.ndarray:
    """Top, left, height and width, int64 (b, 4), of random crops of square images: the first
    of TRIES that fits.

    Args:
        uniform: (b, NUMBERS) in [0, 1).
    """
    low, high = np.log(ASPECT)
    areas = size**2 * (AREA[0] + (AREA[1] - AREA[0]) * uniform[:, :TRIES])
    aspects = np.exp(low + (high - low) * uniform[:, TRIES : 2 * TRIES])
    sides = np.rint(np.sqrt([areas / aspects, areas * aspects]))
    fits = np.all(sides <= size, axis=0)
    first = fits.argmax(1)[None, :, None]
    tried = np.take_along_axis(sides, np.repeat(first, 2, axis=0), 2)[..., 0]
    height, width = np.where(np.any(fits, axis=1), tried, size).astype(np.int64)
    top, left = (uniform[:, 2 * TRIES :].T * (size + 1 - np.stack([height, width]))).astype(int)
    return np.stack([top, left, height, width], axis=1)


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


def _sampled(images: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
    """Each row the weighted sum of TAPS rows of its image; positions, weights: of `_bicubic`.
    Copies of rows and elementwise sums: the bits depend on nothing else."""
    count, channels, size, _ = images.shape
    lines, result = images.flatten(0, 2), torch.zeros_like(images)
    first = size * torch.arange(count * channels, device=images.device).view(count, channels, 1)
    for tap in range(TAPS):
        index = (first + positions[:, None, :, tap]).flatten()
        result += weights[:, None, :, tap, None] * lines.index_select(0, index).view_as(images)
    return result

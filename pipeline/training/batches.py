"""Which images a step of fine-tuning trains on, and their way to the device.

The order of an epoch follows from (seed, epoch), what happens to the images from (seed, step).
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch

from pipeline.clip import model as clip
from pipeline.clip.upload import Sent, Uploader
from pipeline.distributed.ranks import SINGLE, Ranks, rows_to_compute
from pipeline.images.streaming import Pixels, depth, prefetch
from pipeline.training.augmentation import Augmentation, augmented, draw
from pipeline.training.objective import Batch
from pipeline.training.recipe import Recipe


def steps_per_epoch(images: int, recipe: Recipe) -> int:
    """The last batch of an epoch may be smaller."""
    return math.ceil(images / recipe.batch_size)


def total_steps(images: int, recipe: Recipe) -> int:
    """Optimiser steps of the whole run."""
    return recipe.epochs * steps_per_epoch(images, recipe)


def batch_indices(step: int, images: int, batch_size: int, seed: int) -> np.ndarray:
    """Image numbers of a step, sorted: each epoch visits every image once.

    Example: 10 images in batches of 4 are batches of 4, 4 and 2; step 4 is the second of epoch 1.
    """
    per_epoch = math.ceil(images / batch_size)
    epoch, position = divmod(step, per_epoch)
    order = _epoch_order(epoch, images, seed)
    return np.sort(order[position * batch_size : (position + 1) * batch_size])


@lru_cache(maxsize=2)  # batches that are read ahead may belong to the next epoch already
def _epoch_order(epoch: int, images: int, seed: int) -> np.ndarray:
    """All image numbers, int64 (images,), in the order of an epoch; read-only."""
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(images)
    order.flags.writeable = False
    return order


def read_batches(
    pixels: Pixels,
    labels: np.ndarray,
    recipe: Recipe,
    device: torch.device,
    steps: range,
    ranks: Ranks,
) -> Iterator[Batch]:
    """The batches of the steps, each on its way to the device while the one before it is used."""
    uploader, kind = Uploader(device), recipe.augmentation

    def read(step: int) -> Sent:
        index, part = read_pixels(pixels, step, recipe, ranks)
        rows = rows_to_compute(len(index), ranks)
        drawn = draw(kind, len(index), rows, part.shape[-1], recipe.seed, step)
        return uploader.send(part, labels[index], index, *drawn)

    for sent in prefetch(read, steps, depth(pixels)):
        yield _received(uploader, sent, kind)


def read_pixels(
    pixels: Pixels, step: int, recipe: Recipe, ranks: Ranks = SINGLE
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, int64 (B,), of the batch of a step, and pixels, uint8 (b, 3, S, S), of this
    rank's rows of it: of all without others."""
    index = batch_indices(step, len(pixels), recipe.batch_size, recipe.seed)
    return index, pixels[index[rows_to_compute(len(index), ranks)]]


def make_batch(
    index: np.ndarray, pixels: np.ndarray, labels: np.ndarray, device: torch.device
) -> Batch:
    """The batch of image numbers `index`, as float32 pixels in [0, 1] on `device`."""
    uploader = Uploader(device)
    return _received(uploader, uploader.send(pixels, labels[index], index))


def _received(uploader: Uploader, sent: Sent, kind: Augmentation = "none") -> Batch:
    images, batch_labels, numbers, *drawn = uploader.receive(sent)
    return Batch(augmented(clip.scaled(images), kind, drawn), batch_labels, numbers)

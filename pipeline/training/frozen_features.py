"""Outputs of the base model on the clean training images.

Without augmentation they are computed once, before the first step: preprocessing is deterministic,
so one pass serves every epoch. With it, once per step from a frozen copy of the base encoder.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.model import Features, ImageEncoder, to_float_pixels
from pipeline.common.progress import track
from pipeline.distributed.collectives import fill_blocks
from pipeline.distributed.gathered import gather_rows
from pipeline.distributed.ranks import SINGLE, Ranks, rows_to_compute
from pipeline.images.streaming import depth, prefetch
from pipeline.training.objective import BaseOutputs, Batch, MethodInputs, PerImage

Compute = Callable[[ImageEncoder, Features, Tensor], Tensor]
"""(encoder, its features of B images, their labels) -> (B, ...), each row of its own image alone;
reads no weight but the encoder's."""


def base_outputs(
    inputs: MethodInputs, compute: Compute, label: str, kept: tuple[PerImage, ...]
) -> BaseOutputs:
    """What `compute` makes of the base model's features of each batch's clean images.

    Args:
        label: text of the progress bar.
        kept: what one row of it is, as in `Objective.kept_per_image`.
    """
    if inputs.augmentation == "none":
        return Precomputed(precompute_on_clean_images(inputs, compute, label), kept)
    return Recomputed(frozen_base(inputs.encoder), compute)


@dataclass(frozen=True)
class Precomputed:
    """Outputs on all clean images. values: (N, ...), without a graph."""

    values: Tensor
    kept_per_image: tuple[PerImage, ...]

    def fill(self, batch: Batch, ranks: Ranks = SINGLE) -> Batch:
        """The batch as it is."""
        return batch

    def of(self, batch: Batch) -> Tensor:
        """Looked up by image number."""
        return self.values[batch.numbers]


@dataclass(frozen=True)
class Recomputed:
    """Outputs on images that are other ones in every epoch. frozen: by `frozen_base`."""

    frozen: ImageEncoder
    compute: Compute
    kept_per_image: tuple[PerImage, ...] = ()

    @torch.no_grad()
    def fill(self, batch: Batch, ranks: Ranks = SINGLE) -> Batch:
        """One forward of the frozen encoder; each of several processes encodes its rows."""
        count = len(batch.labels)
        labels = batch.labels[rows_to_compute(count, ranks)]
        rows = self.compute(self.frozen, self.frozen(batch.images), labels)
        return batch._replace(base=gather_rows(rows, count, ranks))

    def of(self, batch: Batch) -> Tensor:
        """What `fill` has put into it."""
        if batch.base is None:
            raise ValueError("a batch of augmented images goes through `fill` first")
        return batch.base


def frozen_base(encoder: ImageEncoder) -> ImageEncoder:
    """A copy, without gradients, of an encoder that is still at its base weights: the differences
    that `add_lora` gave it are zero, and stay so in the copy."""
    return copy.deepcopy(encoder).requires_grad_(False).eval()


@torch.no_grad()
def precompute_on_clean_images(inputs: MethodInputs, compute: Compute, label: str) -> Tensor:
    """(N, ...) values of `compute` on all images, with the base encoder.

    Args:
        label: text of the progress bar.

    The values are on the device of the texts, without a graph. Each of several processes
    encodes a block of the images; all get the values of all.
    """
    device, pixels_of_set = inputs.texts.device, inputs.pixels
    chunks = []
    count, size = len(pixels_of_set), inputs.batch_size
    rows = rows_to_compute(count, inputs.ranks)
    starts = range(rows.start, rows.stop, size)
    parts = [slice(start, min(start + size, rows.stop)) for start in starts]
    ahead = prefetch(lambda part: np.array(pixels_of_set[part]), parts, depth(pixels_of_set))
    for part, pixels in zip(track(parts, label), ahead, strict=True):
        images = to_float_pixels(pixels, device)
        labels = torch.from_numpy(inputs.labels[part]).to(device)
        chunks.append(compute(inputs.encoder, inputs.encoder(images), labels))
    values = torch.cat(chunks)
    if inputs.ranks.size == 1:
        return values
    everything = values.new_empty((count, *values.shape[1:]))
    everything[rows] = values
    fill_blocks(everything, inputs.ranks)
    return everything

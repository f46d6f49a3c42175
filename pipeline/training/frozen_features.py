"""Outputs of the base model on the clean training images, computed once before the first step.

Preprocessing is deterministic, so one pass serves every epoch.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.model import Features, to_float_pixels
from pipeline.common.progress import track
from pipeline.distributed.collectives import fill_blocks
from pipeline.distributed.ranks import rows_to_compute
from pipeline.images.streaming import depth, prefetch
from pipeline.training.objective import MethodInputs


@torch.no_grad()
def precompute_on_clean_images(
    inputs: MethodInputs, compute: Callable[[Features, Tensor], Tensor], label: str
) -> Tensor:
    """(N, ...) values of `compute(features, labels)`, which returns (B, ...) for B images.

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
        chunks.append(compute(inputs.encoder(images), labels))
    values = torch.cat(chunks)
    if inputs.ranks.size == 1:
        return values
    everything = values.new_empty((count, *values.shape[1:]))
    everything[rows] = values
    fill_blocks(everything, inputs.ranks)
    return everything

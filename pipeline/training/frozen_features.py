"""What the base model says of the clean training images, computed once before the first step.

Preprocessing is deterministic, so one pass serves every epoch.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.model import Features, unit_pixels
from pipeline.common.progress import track
from pipeline.distributed.collectives import fill_blocks
from pipeline.distributed.ranks import rows_to_compute
from pipeline.images.streaming import depth, prefetch
from pipeline.training.objective import Setup


@torch.no_grad()
def of_clean_images(
    setup: Setup, wanted: Callable[[Features, Tensor], Tensor], label: str
) -> Tensor:
    """(N, ...) values of `wanted(features, labels)`, which gives (B, ...) for B images.

    Args:
        label: what the progress bar says.

    The values lie on the device of the texts, without a graph. Each of several processes
    encodes a block of the images; all get the values of all.
    """
    device, pixels_of_set = setup.texts.device, setup.pixels
    found = []
    count, size = len(pixels_of_set), setup.batch_size
    rows = rows_to_compute(count, setup.ranks)
    starts = range(rows.start, rows.stop, size)
    parts = [slice(start, min(start + size, rows.stop)) for start in starts]
    ahead = prefetch(lambda part: np.array(pixels_of_set[part]), parts, depth(pixels_of_set))
    for part, pixels in zip(track(parts, label), ahead, strict=True):
        images = unit_pixels(pixels, device)
        labels = torch.from_numpy(setup.labels[part]).to(device)
        found.append(wanted(setup.encoder(images), labels))
    values = torch.cat(found)
    if setup.ranks.size == 1:
        return values
    everything = values.new_empty((count, *values.shape[1:]))
    everything[rows] = values
    fill_blocks(everything, setup.ranks)
    return everything

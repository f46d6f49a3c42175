"""What the base model says of the clean training images, computed once before the first step.

Preprocessing is deterministic, so one pass serves every epoch.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import Features, unit_pixels
from pipeline.methods import Setup
from pipeline.progress import track
from pipeline.streaming import depth, read_ahead


@torch.no_grad()
def of_clean_images(
    setup: Setup, wanted: Callable[[Features, Tensor], Tensor], label: str
) -> Tensor:
    """(N, ...) values of `wanted(features, labels)`, which gives (B, ...) for B images.

    Args:
        label: what the progress bar says.

    The values lie on the device of the texts, without a graph.
    """
    device, pixels_of_set = setup.texts.device, setup.pixels
    found = []
    size = setup.batch_size
    starts = range(0, len(pixels_of_set), size)
    ahead = read_ahead(
        lambda start: np.array(pixels_of_set[start : start + size]), starts, depth(pixels_of_set)
    )
    for start, pixels in zip(track(starts, label), ahead, strict=True):
        images = unit_pixels(pixels, device)
        labels = torch.from_numpy(setup.labels[start : start + size]).to(device)
        found.append(wanted(setup.encoder(images), labels))
    return torch.cat(found)

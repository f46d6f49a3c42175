"""Evaluation attacks, one file each; the file name is what `evaluate.attack` names.

An attack module has `run(classifier, images, settings) -> Outcome`.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Targets(NamedTuple):
    """The images to attack, in order.

    pixels: uint8 (total, 3, S, S), the whole set, usually a memory map; numbers: int64 (N,),
    the images of it to attack, which also seed their random starts; labels: int64 (N,).
    """

    pixels: np.ndarray
    numbers: np.ndarray
    labels: np.ndarray

    def read(self, part: slice | np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images float32 (B, 3, S, S) in [0, 1] and labels (B,) of some targets, on `device`."""
        pixels = torch.from_numpy(self.pixels[self.numbers[part]])
        return pixels.to(device).float().div_(255), torch.from_numpy(self.labels[part]).to(device)


class Settings(NamedTuple):
    """epsilon and step_size in [0, 1] pixel units; `steps` ascents; at most `batch_size`
    images at once; `follow` bool (N,): images attacked to the end even when fooled; the
    perturbations of the targets at the ascending positions `examples` are kept."""

    epsilon: float
    step_size: float
    steps: int
    batch_size: int
    seed: int
    follow: np.ndarray
    examples: np.ndarray
    device: torch.device


class Outcome(NamedTuple):
    """What happened to each image, all of length N.

    fooled_at: int32, the first iterate (0 is the start) that was misclassified, -1 if none;
    prediction, margin: int32 / float32 at that iterate, or at the last one if none;
    last_prediction: int32 at the last iterate for followed images, -1 for the others;
    perturbations: float32 (E, 3, S, S) of the `examples`, at the iterate of `prediction`.
    margin = logit of the label - largest other logit.
    """

    fooled_at: np.ndarray
    prediction: np.ndarray
    margin: np.ndarray
    last_prediction: np.ndarray
    perturbations: np.ndarray


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) logit of the label minus the largest other logit."""
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)

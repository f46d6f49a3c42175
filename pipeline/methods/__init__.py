"""Fine-tuning methods, one file each; the file name is what `finetune.method` names.

A method module has
    class Params(Section)      its keys under `finetune.options.<method>`
    def build(params, setup) -> Objective
"""

from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from pipeline.clip import ImageEncoder


class Batch(NamedTuple):
    """images: (B, 3, S, S) float32 clean pixels in [0, 1]; labels, numbers: (B,) int64,
    class numbers and image numbers in the training set."""

    images: Tensor
    labels: Tensor
    numbers: Tensor


class Setup(NamedTuple):
    """What a method may look at before the first step.

    encoder: the image encoder still at its base weights, without gradients;
    texts: (C, K, D) unit-norm description features; scale: exp(logit scale);
    pixels: uint8 (N, 3, S, S); labels: (N,) int64; both memory-mapped or in RAM.
    """

    encoder: ImageEncoder
    texts: Tensor
    scale: float
    pixels: np.ndarray
    labels: np.ndarray
    batch_size: int


class Objective(Protocol):
    """A training objective; texts are features already, nothing here encodes text."""

    def attack_loss(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """What the training attack ascends: a scalar, summed over the batch."""

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Scalars for the log, `loss` (the one to descend) among them. `images` are the
        adversarial ones, (B, 3, S, S) in [0, 1], detached from the attack."""

"""Distances between class distributions, given as logits. Legend: B images, C classes."""

from torch import Tensor
from torch.nn import functional as F


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """(B,) KL(softmax(target) || softmax(logits)) of (B, C) logits; gradients flow into both."""
    return F.kl_div(
        logits.log_softmax(1), target.log_softmax(1), reduction="none", log_target=True
    ).sum(1)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(B,) cross-entropy -sum_c targets[c] log softmax(logits)[c]; targets sum to 1."""
    return F.cross_entropy(logits, targets, reduction="none")

"""Classification by K captions per class, each caption slot a classifier of its own.

Source: SAFT (released attacks/pgd_attack.py, helper.py). Legend for shapes: B images, C
classes, K captions, D joint width.
"""

from torch import Tensor
from torch.nn import functional as F


def ensemble_logits(pooled: Tensor, texts: Tensor, scale: float) -> Tensor:
    """(B, C, K) logits of (B, D) unit-norm images against (C, K, D) unit-norm texts: caption
    slot k is a C-way classifier of its own; features are never averaged."""
    classes, captions, width = texts.shape
    logits = scale * pooled @ texts.reshape(classes * captions, width).T
    return logits.view(-1, classes, captions)


def ensemble_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) cross-entropy of each image, averaged over its K caption slots."""
    targets = labels[:, None].expand(-1, logits.shape[2])
    return F.cross_entropy(logits, targets, reduction="none").mean(1)


def ensemble_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of images whose mean logits over the captions name their class."""
    return (logits.detach().mean(2).argmax(1) == labels).float().mean()

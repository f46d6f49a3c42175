"""What APGD ascends, one value per image; source: Croce & Hein 2020, sections 4.1 and 4.2.

All take logits float32 (B, C) of the attacker's texts, labels int64 (B,) and target classes
int64 (B,) (read by the targeted ones alone) and return (B,). The DLR losses divide by a
difference of the logits themselves: a scaling of the logits changes nothing.
"""

from torch import Tensor
from torch.nn import functional as F

from pipeline.evaluation.interface import margins

EPS = 1e-12  # as in the authors' code; only for logits that are all equal


def cross_entropy(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    """-log softmax of the label."""
    return F.cross_entropy(logits, labels, reduction="none")


def dlr(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    """Difference of logits ratio, -(z_y - max other z) / (z_1st - z_3rd); C >= 3."""
    top = logits.topk(3, dim=1)
    right = top.indices[:, 0] == labels
    rival = top.values[:, 1].where(right, top.values[:, 0])
    return -(_select(logits, labels) - rival) / (top.values[:, 0] - top.values[:, 2] + EPS)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2); C >= 4."""
    top = logits.topk(4, dim=1).values
    spread = top[:, 0] - 0.5 * (top[:, 2] + top[:, 3])
    return -(_select(logits, labels) - _select(logits, targets)) / (spread + EPS)


def margin(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    """max other z - z_y: in place of `dlr` for 2 classes."""
    return -margins(logits, labels)


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """z_t - z_y: in place of `targeted_dlr` for 2 and 3 classes."""
    return _select(logits, targets) - _select(logits, labels)


def _select(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]

"""Classification by one text per class, and the training attack that most methods share.

Source: TeCoA (Mao et al., ICLR 2023): z(x) = scale * f(x) T^T with f the unit-norm image
feature and T the unit-norm text features. Legend: B images, C classes, D joint width.
"""

from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.training.objective import Batch, FixedObjective


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of images whose largest logit is their class."""
    return (logits.detach().argmax(1) == labels).float().mean()


class TemplateClassifier(FixedObjective):
    """The part of an objective that classifies by the template.

    template: (C, D) unit-norm text features; scale: the factor on cosines.
    """

    def __init__(self, template: Tensor, scale: float) -> None:
        self.template, self.scale = template, scale

    def logits(self, pooled: Tensor) -> Tensor:
        """(B, C) logits of (B, D) unit-norm images."""
        return self.scale * pooled @ self.template.T


class TemplateAttack(TemplateClassifier):
    """And the part that attacks CE(z(x'), y), summed over the batch."""

    def attack_loss(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the true class, summed over the batch."""
        logits = self.logits(encoder(images).pooled)
        return F.cross_entropy(logits, batch.labels, reduction="sum")

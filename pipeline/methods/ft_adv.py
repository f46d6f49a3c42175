"""Adversarial fine-tuning with CLIP's own loss, the baseline "FT-Adv." of TGA-ZSR.

loss = (CE(L, i = i) + CE(L^T, i = i)) / 2, L = scale * F(x_adv) T[y]^T over the batch: the
symmetric contrastive loss with the template of each image's class as its text. Images of one
class share a text and still count as each other's negatives, as in the release (TGA-ZSR
663fe57, FT.py). The attack ascends the cross-entropy over all classes, as TeCoA's does.

The release states no recipe beyond the learning rate; the rest is TGA-ZSR's.
"""

from torch import Tensor

from pipeline.clip.model import ImageEncoder
from pipeline.training.contrastive import symmetric_contrastive
from pipeline.training.objective import Batch, MethodInputs, MethodParams
from pipeline.training.published import TECOA_PROTOCOL
from pipeline.training.template import TemplateAttack, accuracy

TITLE = "FT-Adv"
PUBLISHED = TECOA_PROTOCOL


class Params(MethodParams):
    """`finetune.options.ft_adv`: the learning rate only."""


def build(params: Params, inputs: MethodInputs) -> "FtAdv":
    """The objective on the template."""
    return FtAdv(inputs.template, inputs.scale)


class FtAdv(TemplateAttack):
    """The objective; clean images are never encoded."""

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Contrastive loss of the adversarial images."""
        pooled = encoder(images).pooled
        loss = symmetric_contrastive(pooled, self.template[batch.labels], self.scale)
        return {
            "loss": loss,
            "adversarial_accuracy": accuracy(self.logits(pooled), batch.labels),
        }

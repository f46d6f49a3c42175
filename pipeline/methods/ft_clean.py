"""Fine-tuning on clean images with CLIP's own loss, the baseline "FT-Clean" of TGA-ZSR.

loss = (CE(L, i = i) + CE(L^T, i = i)) / 2, L = scale * F(x) T[y]^T over the batch: `ft_adv`
without an attack. Section finetune.attack has no effect on it.

The release (TGA-ZSR 663fe57, FT.py) states no recipe beyond the learning rate; the rest is
TGA-ZSR's.
"""

from dataclasses import replace

from torch import Tensor

from pipeline.clip.model import ImageEncoder
from pipeline.training.contrastive import symmetric_contrastive
from pipeline.training.objective import Batch, MethodInputs, MethodParams
from pipeline.training.published import TECOA_PROTOCOL
from pipeline.training.template import TemplateClassifier, accuracy

TITLE = "FT-Clean"
PUBLISHED = replace(TECOA_PROTOCOL, attack=None)


class Params(MethodParams):
    """`finetune.options.ft_clean`: the learning rate only."""


def build(params: Params, inputs: MethodInputs) -> "FtClean":
    """The objective on the template."""
    return FtClean(inputs.template, inputs.scale)


class FtClean(TemplateClassifier):
    """The objective; there is nothing to attack."""

    attack_loss = None

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Contrastive loss of the images, which are the clean ones."""
        pooled = encoder(images).pooled
        loss = symmetric_contrastive(pooled, self.template[batch.labels], self.scale)
        return {"loss": loss, "clean_accuracy": accuracy(self.logits(pooled), batch.labels)}

"""Fine-tuning on clean images with CLIP's own loss, the baseline "FT-Clean" of TGA-ZSR.

loss = (CE(L, i = i) + CE(L^T, i = i)) / 2, L = scale * F(x) T[y]^T over the batch: `ft_adv`
without an attack. Section finetune.attack has no effect on it.

The release (TGA-ZSR 663fe57, FT.py) states no recipe beyond the learning rate; the rest is
TGA-ZSR's.
"""

from torch import Tensor

from pipeline.clip import ImageEncoder
from pipeline.methods import Batch, MethodParams, Published, Setup
from pipeline.methods._contrastive import symmetric_contrastive
from pipeline.methods._template import accuracy, class_logits

TITLE = "FT-Clean"
PUBLISHED = Published(
    optimiser="sgd",
    learning_rate=1e-4,
    momentum=0.9,
    weight_decay=0.0,
    epochs=10,
    batch_size=128,
    warmup_steps=1000,
    attack=None,
)


class Params(MethodParams):
    """`finetune.options.ft_clean`: the learning rate only."""


def build(params: Params, setup: Setup) -> "FtClean":
    """The objective on the template."""
    return FtClean(setup.template, setup.scale)


class FtClean:
    """The objective. template: (C, D) unit norm; scale: the factor on cosines."""

    attack_loss = None

    def __init__(self, template: Tensor, scale: float) -> None:
        self.template, self.scale = template, scale

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Contrastive loss of the images, which are the clean ones."""
        pooled = encoder(images).pooled
        loss = symmetric_contrastive(pooled, self.template[batch.labels], self.scale)
        logits = class_logits(pooled, self.template, self.scale)
        return {"loss": loss, "clean_accuracy": accuracy(logits, batch.labels)}

"""Text-guided contrastive adversarial training, TeCoA (Mao et al., ICLR 2023).

loss = mean CE(z(x_adv), y), z(x) = scale * cos(f(x), T), T the template's text features; the
attack ascends the same.

Followed: the paper's recipe (learning rate 1e-5, batches of 256, two steps at 1/255). The
released code's (1243db6) own defaults differ: rate 1e-7, batches of 16, 5 steps at 2/255.
The release mixes weights with the base model's on request: here `finetune.mix_alpha`.
"""

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.training.objective import Batch, MethodInputs, MethodParams
from pipeline.training.published import TECOA_PROTOCOL
from pipeline.training.template import TemplateAttack, accuracy

TITLE = "TeCoA"
PUBLISHED = replace(TECOA_PROTOCOL, learning_rate=1e-5, batch_size=256)


class Params(MethodParams):
    """`finetune.options.tecoa`: the learning rate only."""


def build(params: Params, inputs: MethodInputs) -> "Tecoa":
    """The objective on the template."""
    return Tecoa(inputs.template, inputs.scale)


class Tecoa(TemplateAttack):
    """The objective; clean images are never encoded."""

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the adversarial images."""
        logits = self.logits(encoder(images).pooled)
        return {
            "loss": F.cross_entropy(logits, batch.labels),
            "adversarial_accuracy": accuracy(logits, batch.labels),
        }

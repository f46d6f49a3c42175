"""AGFT: adversarial fine-tuning towards the base model's softened predictions.

loss = mean CE(z(x_adv), p), soft targets p of the *clean* image under the frozen base model:
    z(x) = r * scale * cos(f(x), T)
    p    = softmax(t * r * scale * cos(f0(x), T))
with r = scale_ratio (180 where CLIP has 100) and t = target_temperature. The attack ascends
the same loss, soft targets included. No labels but for the log.

Source: released code (YuboCui/AGFT 0031a8f), r = 1.8, t = 0.4; the model is evaluated at its
own scale afterwards, which changes no prediction. Batches are 2 GPUs x 128.
"""

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.common.bounds import Factor
from pipeline.training.frozen_features import base_outputs
from pipeline.training.objective import BaseOutputs, Batch, MethodInputs, MethodParams
from pipeline.training.published import TECOA_PROTOCOL
from pipeline.training.template import TemplateClassifier, accuracy

TITLE = "AGFT"
PUBLISHED = replace(TECOA_PROTOCOL, learning_rate=4e-4, batch_size=256)


class Params(MethodParams):
    """`finetune.options.agft`; published: 1.8 and 0.4."""

    scale_ratio: Factor
    target_temperature: Factor


def build(params: Params, inputs: MethodInputs) -> "Agft":
    """The objective on the base model's soft targets."""
    scale = params.scale_ratio * inputs.scale
    softened = TemplateClassifier(inputs.template, params.target_temperature * scale)
    targets = base_outputs(
        inputs,
        lambda _, features, __: softened.logits(features.pooled).softmax(1),
        "base predictions",
        ("classes",),
    )
    return Agft(inputs.template, scale, targets)


class Agft(TemplateClassifier):
    """The objective. scale: r * scale; base: (B, C) soft targets, rows sum to 1."""

    base: BaseOutputs

    def __init__(self, template: Tensor, scale: float, base: BaseOutputs) -> None:
        super().__init__(template, scale)
        self.base = base

    def attack_loss(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """Soft cross-entropy, summed over the batch."""
        logits = self.logits(encoder(images).pooled)
        return F.cross_entropy(logits, self.base.of(batch), reduction="sum")

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Soft cross-entropy of the adversarial images; clean images are not encoded."""
        logits = self.logits(encoder(images).pooled)
        return {
            "loss": F.cross_entropy(logits, self.base.of(batch)),
            "adversarial_accuracy": accuracy(logits, batch.labels),
        }

"""Pre-trained model guided adversarial fine-tuning, PMG-AFT (Wang et al., CVPR 2024).

loss = CE(z(x_adv), y) + general * KL(q0 || p) + clean * KL(pc || p)
    p = softmax z(x_adv), q0 = softmax z0(x_adv) of the frozen base model on the *adversarial*
    image, pc = softmax z(x) of the tuned model on the clean one; the attack ascends the CE.

Two variants:
    paper    z(x) = scale * cosine; both KL are means over the batch
    release  z(x) = cosine, without temperature, in loss and attack; both KL are sums over the
             batch while the CE is a mean, as in the released code (a53fdd8)
Direction of the KL: q0 and pc are the targets, as in that code (since 29 May 2024; reversed
before) and in AGFT's reimplementation after the paper. pc is not detached, as in the code.
The code's ImageNet mean and standard deviation are not followed: CLIP's own are used.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.common.bounds import Weight
from pipeline.distributed.gathered import gathering_encoder
from pipeline.distributed.ranks import SINGLE, Ranks
from pipeline.training.frozen_features import frozen_base
from pipeline.training.objective import Batch, MethodInputs, MethodParams
from pipeline.training.published import TECOA_PROTOCOL
from pipeline.training.template import TemplateAttack, accuracy

TITLE = "PMG-AFT"
PUBLISHED = replace(TECOA_PROTOCOL, learning_rate=5e-5, batch_size=256)


class Params(MethodParams):
    """`finetune.options.pmg_aft`; published weights: 1 and 1."""

    variant: Literal["paper", "release"]
    general: Weight
    clean: Weight


def build(params: Params, inputs: MethodInputs) -> "PmgAft":
    """Keep a frozen copy of the base encoder: it must see the adversarial images."""
    frozen = frozen_base(inputs.encoder)
    return PmgAft(params, inputs.template, inputs.scale, frozen, inputs.ranks)


class PmgAft(TemplateAttack):
    """The objective. frozen: the base encoder."""

    def __init__(
        self,
        params: Params,
        template: Tensor,
        scale: float,
        frozen: ImageEncoder,
        ranks: Ranks = SINGLE,
    ) -> None:
        super().__init__(template, 1.0 if params.variant == "release" else scale)
        self.params, self.frozen, self.ranks = params, frozen, ranks

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """One forward of both halves, and one of the frozen encoder without a graph."""
        pooled = encoder(torch.cat([images, batch.images])).pooled
        adversarial, clean = self.logits(pooled).chunk(2)
        with torch.no_grad():
            base = gathering_encoder(self.frozen, len(batch.labels), self.ranks)
            frozen = self.logits(base(images).pooled)
        cross_entropy = F.cross_entropy(adversarial, batch.labels)
        general = self._reduce(divergence(frozen, adversarial))
        constraint = self._reduce(divergence(clean, adversarial))
        return {
            "loss": cross_entropy + self.params.general * general + self.params.clean * constraint,
            "cross_entropy": cross_entropy,
            "general": general,
            "clean": constraint,
            "adversarial_accuracy": accuracy(adversarial, batch.labels),
            "clean_accuracy": accuracy(clean, batch.labels),
        }

    def _reduce(self, divergences: Tensor) -> Tensor:
        return divergences.sum() if self.params.variant == "release" else divergences.mean()


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """(B,) KL(softmax(target) || softmax(logits)) of (B, C) logits; gradients flow into both."""
    return F.kl_div(
        logits.log_softmax(1), target.log_softmax(1), reduction="none", log_target=True
    ).sum(1)

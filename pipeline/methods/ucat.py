"""Uncertainty-calibrated adversarial fine-tuning, UCAT (Lu et al., ICML 2026, arXiv 2512.12997).

loss = CE(z(x_adv), y) + w * mean over images of KL(Dir(a(x_adv)) || Dir(b(x)))
    z(x) = scale * cos(f(x), T), a(x) = 1e-6 + exp((cos(f(x), T) + 1) / t)
    w    = calibration / exp(softplus(2 / t)), about 4e-8 by the published 1e5 and t = 0.07
the concentrations of a Dirichlet distribution over the classes, which keep the size of the
cosines that a softmax forgets; the attack ascends the cross-entropy.

Paper and released code (VivienLu/UCAT ff8865e) differ in whose clean image b is of: that of the
frozen base model in the code (`clean_model: base`, followed by default), that of the tuned model in
the paper as reviews tell it (`tuned`; its text could not be read, so that whether the gradient
flows into b is our choice: it does). Batches of 256 are the release's command, 128 its default.
Concentrations reach 1e12, whose log-gamma float32 holds to about 1e6: the divergence is computed in
float64, where the release's has an error of several hundredths after weighting. Its float16
autocast is left out.
"""

import math
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.common.bounds import Weight
from pipeline.training.frozen_features import base_outputs
from pipeline.training.objective import BaseOutputs, Batch, MethodInputs, MethodParams
from pipeline.training.published import TECOA_PROTOCOL
from pipeline.training.template import TemplateAttack, accuracy

TITLE = "UCAT"
PUBLISHED = replace(TECOA_PROTOCOL, batch_size=256)
SMALLEST = 1e-6  # added to every concentration


class Params(MethodParams):
    """`finetune.options.ucat`; published: 1e5, 0.07 and base (released code)."""

    calibration: Weight
    temperature: float = Field(ge=0.01, le=100)
    clean_model: Literal["base", "tuned"]


def build(params: Params, inputs: MethodInputs) -> "Ucat":
    """The objective, on the base model's cosines where they are what the divergence is from."""
    cosines = None
    if params.clean_model == "base":
        template = inputs.template
        cosines = base_outputs(
            inputs,
            lambda _, features, __: features.pooled @ template.T,
            "base cosines",
            ("classes",),
        )
    return Ucat(params, inputs.template, inputs.scale, cosines)


class Ucat(TemplateAttack):
    """The objective. base: (B, C) cosines of the clean images; None: the tuned model's
    count."""

    def __init__(
        self, params: Params, template: Tensor, scale: float, base: BaseOutputs | None
    ) -> None:
        super().__init__(template, scale)
        self.temperature, self.base = params.temperature, base
        largest = math.exp(_softplus(2 / params.temperature))  # about the largest concentration
        self.weight = params.calibration / largest

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Clean images are encoded only where the tuned model's count."""
        if self.base is None:
            pooled = encoder(torch.cat([images, batch.images])).pooled
            cosines, clean = (pooled @ self.template.T).chunk(2)
        else:
            cosines = encoder(images).pooled @ self.template.T
            clean = self.base.of(batch)
        cross_entropy = F.cross_entropy(self.scale * cosines, batch.labels)
        divergence = dirichlet_divergence(cosines, clean, self.temperature).mean()
        calibration = (self.weight * divergence).to(cross_entropy.dtype)
        logged = {
            "loss": cross_entropy + calibration,
            "cross_entropy": cross_entropy,
            "calibration": calibration,
            "adversarial_accuracy": accuracy(cosines, batch.labels),
        }
        if self.base is None:
            logged["clean_accuracy"] = accuracy(clean, batch.labels)
        return logged


def dirichlet_divergence(cosines: Tensor, target: Tensor, temperature: float) -> Tensor:
    """(B,) float64 KL(Dir(a) || Dir(b)), a and b of (B, C) cosines and target; gradients flow into
    both."""
    first, second = (
        Dirichlet(SMALLEST + ((values.double() + 1) / temperature).exp(), validate_args=False)
        for values in (cosines, target)
    )
    return kl_divergence(first, second)


def _softplus(value: float) -> float:
    return value + math.log1p(math.exp(-value))

"""Complementary text-guided attention, Comp-TGA (arXiv 2603.18598, TPAMI 2026).

loss = CE(z(x_adv), y) + 0.10 * L_AR + 0.07 * L_AMC, TGA-ZSR's loss with the attention map
    A(x) = A+(x) * (1 - A-(x))
A+ guided by the template of the image's class, A- by its negation, "This is not a photo of a ...":
what the negated text attends to as well is suppressed. Both maps are min-max normalised and
upsampled to the image, then multiplied; the distances are between the products. The attack ascends
the cross-entropy.

Followed: the release (zhyblue424/TGA-ZSR 1fd5da3, Comp-TGA.py, attention_map.py): the weights, the
text, patch features normalised over the token axis (`attention_norm: token`). Its antialiased
resize enlarges, where antialiasing changes nothing; its division has no guard against a constant
map, this one gives zeros; its float16 autocast is left out. The released command for AutoAttack
numbers was not found.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.common.bounds import Name
from pipeline.training.attention import attention_map, upsampled, upsampling
from pipeline.training.attention_guided import AttentionParams, weighted_terms
from pipeline.training.frozen_features import base_outputs
from pipeline.training.objective import BaseOutputs, Batch, MethodInputs
from pipeline.training.published import TECOA_PROTOCOL
from pipeline.training.template import TemplateAttack, accuracy

TITLE = "Comp-TGA"
PUBLISHED = TECOA_PROTOCOL


class Params(AttentionParams):
    """`finetune.options.comp_tga`; published: 0.10, 0.07 and token. negative: a text set of
    finetune.texts."""

    negative: Name


def build(params: Params, inputs: MethodInputs) -> "CompTga":
    """The objective on the template and its negation."""
    captions = inputs.text_set(params.negative, "finetune.options.comp_tga.negative")
    return CompTga(params, F.normalize(captions.mean(1), dim=1), inputs)


class CompTga(TemplateAttack):
    """The objective. negative: (C, D) unit-norm texts; base: (B, 2, T) maps, the base model's
    attention on the clean images, guided by template and negation, before they are multiplied."""

    base: BaseOutputs

    def __init__(self, params: Params, negative: Tensor, inputs: MethodInputs) -> None:
        super().__init__(inputs.template, inputs.scale)
        self.params, self.negative = params, negative
        encoder = inputs.encoder
        self.upsampling = upsampling(encoder.grid[0], encoder.image_size).to(negative.device)
        self.base = base_outputs(
            inputs,
            lambda base, features, labels: self._maps(base.project(features), labels),
            "base attention maps",
            ("patches", "patches"),
        )

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """One forward of the adversarial and clean halves gives logits and patch tokens."""
        features = encoder(torch.cat([images, batch.images]))
        adversarial, clean = self.logits(features.pooled).chunk(2)
        maps = self._maps(encoder.project(features), batch.labels.repeat(2))
        base = self._attention(self.base.of(batch))
        adversarial_map, clean_map = self._attention(maps).chunk(2)
        cross_entropy = F.cross_entropy(adversarial, batch.labels)
        refinement = (adversarial_map - base).flatten(1).norm(dim=1).mean()
        constraint = (clean_map - base).flatten(1).norm(dim=1).mean()
        return {
            **weighted_terms(self.params, cross_entropy, refinement, constraint),
            "adversarial_accuracy": accuracy(adversarial, batch.labels),
            "clean_accuracy": accuracy(clean, batch.labels),
        }

    def _maps(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """(B, 2, T) maps of (B, 1 + T, D) tokens, guided by template and negation of the class."""
        norm = self.params.attention_norm
        texts = (self.template, self.negative)
        return torch.stack([attention_map(tokens, text[labels], norm) for text in texts], dim=1)

    def _attention(self, maps: Tensor) -> Tensor:
        """(B, S, S) attention in [0, 1] of (B, 2, T) maps."""
        positive, negative = upsampled(maps, self.upsampling).unbind(1)
        return positive * (1 - negative)

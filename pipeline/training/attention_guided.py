"""The objective of SAFT and TGA-ZSR: a classification loss and two attention-map terms.

loss = mean over K and images of CE(adversarial, caption slot k)
       + attention_refinement * L_AR + attention_constraint * L_AMC
    L_AR  = mean |A_tuned(x_adv) - A_base(x)|_2
    L_AMC = mean |A_tuned(x)     - A_base(x)|_2
with A the text-guided attention map of `pipeline.training.attention`.
Legend for shapes: B images of N, C classes, K captions, T patches, D joint width.
"""

import torch
from torch import Tensor

from pipeline.clip.model import ImageEncoder
from pipeline.common.bounds import Weight
from pipeline.training.attention import TokenNorm, attention_map, map_distance, upsampling_factor
from pipeline.training.frozen_features import base_outputs
from pipeline.training.objective import (
    BaseOutputs,
    Batch,
    FixedObjective,
    MethodInputs,
    MethodParams,
)
from pipeline.zeroshot.ensemble import ensemble_accuracy, ensemble_cross_entropy, ensemble_logits


class AttentionParams(MethodParams):
    """Weights of the two map terms, and the axis over which patch features are normalised:
    token (as released) or channel."""

    attention_refinement: Weight
    attention_constraint: Weight
    attention_norm: TokenNorm


def weighted_terms(
    params: AttentionParams, cross_entropy: Tensor, refinement: Tensor, constraint: Tensor
) -> dict[str, Tensor]:
    """`loss`, the weighted sum of three scalars, and each of them for the log."""
    loss = (
        cross_entropy
        + params.attention_refinement * refinement
        + params.attention_constraint * constraint
    )
    return {
        "loss": loss,
        "cross_entropy": cross_entropy,
        "attention_refinement": refinement,
        "attention_constraint": constraint,
    }


class AttentionGuided(FixedObjective):
    """The objective. texts: (C, K, D) unit norm; base: (B, T) maps, the base model's attention on
    the clean images."""

    base: BaseOutputs

    def __init__(self, params: AttentionParams, texts: Tensor, inputs: MethodInputs) -> None:
        self.params, self.texts, self.scale = params, texts, inputs.scale
        self.mean_text = texts.mean(1)
        encoder = inputs.encoder
        self.factor = upsampling_factor(encoder.grid[0], encoder.image_size).to(texts.device)
        self.base = base_outputs(
            inputs,
            lambda base, features, labels: self._attention(base.project(features), labels),
            "base attention maps",
            ("patches",),
        )

    def attack_loss(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy against the whole ensemble: mean over K, sum over images."""
        logits = ensemble_logits(encoder(images).pooled, self.texts, self.scale)
        return ensemble_cross_entropy(logits, batch.labels).sum()

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """One forward of the adversarial and clean halves gives logits and patch tokens."""
        features = encoder(torch.cat([images, batch.images]))
        logits = ensemble_logits(features.pooled, self.texts, self.scale)
        adversarial, clean = logits.chunk(2)
        maps = self._attention(encoder.project(features), batch.labels.repeat(2))
        base = self.base.of(batch)
        cross_entropy = ensemble_cross_entropy(adversarial, batch.labels).mean()
        refinement = map_distance(maps[: len(base)], base, self.factor)
        constraint = map_distance(maps[len(base) :], base, self.factor)
        return {
            **weighted_terms(self.params, cross_entropy, refinement, constraint),
            "adversarial_accuracy": ensemble_accuracy(adversarial, batch.labels),
            "clean_accuracy": ensemble_accuracy(clean, batch.labels),
        }

    def _attention(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """(B, T) maps of (B, 1 + T, D) tokens, each guided by the text of its class."""
        return attention_map(tokens, self.mean_text[labels], self.params.attention_norm)

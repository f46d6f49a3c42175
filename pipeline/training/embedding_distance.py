"""Distances to the base model's embeddings, and the training attack on them that FARE, Sim-CLIP,
LORE and QT-AFT share.

Source: FARE (Schlarmann et al., ICML 2024). Legend: B images of N, D joint width; embeddings are
projected class tokens *before* normalisation.
"""

from torch import Tensor

from pipeline.clip.model import ImageEncoder
from pipeline.training.frozen_features import base_outputs
from pipeline.training.objective import BaseOutputs, Batch, FixedObjective, MethodInputs
from pipeline.training.published import Published, TrainingAttack

FARE_PROTOCOL = Published(
    optimiser="adamw",
    learning_rate=1e-5,
    momentum=0.9,
    weight_decay=1e-4,
    epochs=2,
    batch_size=128,
    warmup_steps=1400,
    attack=TrainingAttack(
        norm="linf", epsilon_255=1, step_255=1, steps=10, momentum=0.9, random_start=True
    ),
)


def base_embeddings(inputs: MethodInputs) -> BaseOutputs:
    """(B, D) float32 embeddings of the clean images by the base model."""
    return base_outputs(
        inputs, lambda _, features, __: features.embedding.float(), "base embeddings", ("width",)
    )


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """(B,) squared l2 distances of (B, D) embeddings."""
    return (first - second).square().sum(1)


class EmbeddingAttack(FixedObjective):
    """The part of an objective that attacks |F(x') - F0(x)|_2^2, summed over the batch.

    base: (B, D) embeddings by the base model of the clean images, not normalised.
    """

    base: BaseOutputs

    def __init__(self, base: BaseOutputs) -> None:
        self.base = base

    def attack_loss(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """Squared distance to the clean image's base embedding, summed over the batch."""
        return self.distances(encoder, images, batch).sum()

    def distances(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """(B,) squared l2 distances to the base embeddings."""
        return squared_distances(encoder(images).embedding.float(), self.base.of(batch))

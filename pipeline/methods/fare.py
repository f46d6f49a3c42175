"""Unsupervised robust fine-tuning of embeddings, FARE (Schlarmann et al., ICML 2024).

loss = mean over images of |F(x_adv) - F0(x)|_2^2, with F the projected class token *before*
normalisation, F0 that of the base model, squares summed over the dimensions; the attack
ascends the same, summed over the batch. No text, no labels.

Followed: the release (chs20/RobustVLM 7de10ee): AdamW, 20 000 steps in batches of 128 (about
two epochs of ImageNet) of which 1400 warm up, 10 steps with momentum 0.9 on normalised
gradients. Paper and release train at 2/255 and 4/255, and publish a ViT-B/32 at 1/255 as well:
that radius is the default, for it is what the other methods train with. As the velocity is
normalised too, its sign under l-infinity is that of the last gradient: the momentum has a say
only where that is exactly zero.
"""

from torch import Tensor

from pipeline.clip.model import ImageEncoder
from pipeline.training.frozen_features import precompute_on_clean_images
from pipeline.training.objective import (
    Batch,
    MethodInputs,
    MethodParams,
    PerImage,
    Published,
    TrainingAttack,
)

TITLE = "FARE"
PUBLISHED = Published(
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


class Params(MethodParams):
    """`finetune.options.fare`: the learning rate only."""


def build(params: Params, inputs: MethodInputs) -> "Fare":
    """Encode every clean image once with the base model, then forget it."""
    embeddings = precompute_on_clean_images(
        inputs, lambda features, _: features.embedding.float(), "base embeddings"
    )
    return Fare(embeddings)


class Fare:
    """The objective. embeddings: (N, D) of the base model, not normalised."""

    kept_per_image: tuple[PerImage, ...] = ("width",)

    def __init__(self, embeddings: Tensor) -> None:
        self.embeddings = embeddings

    def attack_loss(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """Squared distance to the clean image's base embedding, summed over the batch."""
        return self._distances(encoder, images, batch).sum()

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The mean squared distance; there is nothing to classify with."""
        return {"loss": self._distances(encoder, images, batch).mean()}

    def _distances(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """(B,) squared l2 distances."""
        embedding = encoder(images).embedding.float()
        return (embedding - self.embeddings[batch.numbers]).square().sum(1)

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

`distance: cosine` is Sim-CLIP (arXiv 2407.14971) as released (speedlab-git/SimCLIP 2388a87):
loss = mean of 1 - cos(F(x_adv), F0(x)), while the attack still ascends the squared distance. The
release halves it and adds a second half without a gradient; the rate takes up the factor. Its own
recipe: rate 1e-3, weight decay 1e-5, 10 000 steps in batches of 64. What its paper writes is
method `simclip`.
"""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.training.embedding_distance import (
    FARE_PROTOCOL,
    EmbeddingAttack,
    base_embeddings,
)
from pipeline.training.objective import BaseOutputs, Batch, MethodInputs, MethodParams

TITLE = "FARE"
PUBLISHED = FARE_PROTOCOL


class Params(MethodParams):
    """`finetune.options.fare`; published: l2."""

    distance: Literal["l2", "cosine"]


def build(params: Params, inputs: MethodInputs) -> "Fare":
    """The objective on the base model's embeddings of the clean images."""
    return Fare(base_embeddings(inputs), params.distance)


class Fare(EmbeddingAttack):
    """The objective. base: (B, D) embeddings, not normalised."""

    def __init__(self, base: BaseOutputs, distance: Literal["l2", "cosine"]) -> None:
        super().__init__(base)
        self.distance = distance

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The mean distance; there is nothing to classify with."""
        if self.distance == "l2":
            return {"loss": self.distances(encoder, images, batch).mean()}
        embedding = encoder(images).embedding.float()
        cosines = F.cosine_similarity(embedding, self.base.of(batch), dim=1)
        return {"loss": (1 - cosines).mean()}

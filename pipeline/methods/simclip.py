"""Sim-CLIP as its paper writes it (Hossain and Imteaj, arXiv 2407.14971).

loss = 1/2 * [-cos(F(x_adv), sg F(x)) - cos(F(x), sg F(x_adv))], mean over images
with F the tuned model's embedding in both branches and sg a stopped gradient; -1 is the least.
Without text or labels, and the base model only in the attack.

Released code (speedlab-git/SimCLIP 2388a87) and paper differ: in the code the other branch is the
frozen base model, so that its second term has no gradient: that is `fare` with `distance: cosine`.
From the code are the attack, which ascends FARE's squared distance to the base model's embedding of
the clean image, and the recipe: AdamW, rate 1e-3, weight decay 1e-5, 10 000 steps in batches of 64
(half an epoch of ImageNet; here one), 1400 of warm-up.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.training.embedding_distance import FARE_PROTOCOL, EmbeddingAttack, base_embeddings
from pipeline.training.objective import Batch, MethodInputs, MethodParams

TITLE = "Sim-CLIP (paper)"
PUBLISHED = replace(FARE_PROTOCOL, learning_rate=1e-3, weight_decay=1e-5, epochs=1, batch_size=64)


class Params(MethodParams):
    """`finetune.options.simclip`: the learning rate only."""


def build(params: Params, inputs: MethodInputs) -> "SimClip":
    """The objective; the base embeddings are what the attack moves away from."""
    return SimClip(base_embeddings(inputs))


class SimClip(EmbeddingAttack):
    """The objective. base: (B, D) embeddings, for the attack."""

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """One forward of the adversarial and clean halves; each pulls the other."""
        embeddings = encoder(torch.cat([images, batch.images])).embedding.float()
        adversarial, clean = embeddings.chunk(2)
        towards_clean = -F.cosine_similarity(adversarial, clean.detach(), dim=1).mean()
        towards_adversarial = -F.cosine_similarity(clean, adversarial.detach(), dim=1).mean()
        return {"loss": (towards_clean + towards_adversarial) / 2}

"""Semantic-aware adversarial fine-tuning (Zhang et al., TMLR 2026, arXiv 2602.12461).

loss = CE(adversarial, K-caption ensemble) + attention_refinement * L_AR
       + attention_constraint * L_AMC
    L_AR  = mean |A_tuned(x_adv) - A_base(x)|_2
    L_AMC = mean |A_tuned(x)     - A_base(x)|_2
with A the text-guided attention map of `pipeline.attention`.
"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.attention import attention_map, map_distance, upsampling_factor
from pipeline.clip import ImageEncoder
from pipeline.methods import Batch, Setup
from pipeline.params import Section
from pipeline.progress import track


class Params(Section):
    """`finetune.options.saft`; the defaults of the paper are 0.08 and 0.05."""

    attention_refinement: float = Field(ge=0)
    attention_constraint: float = Field(ge=0)


def build(params: Params, setup: Setup) -> "Saft":
    """Compute the base model's attention maps once, then forget the base model."""
    return Saft(params, setup.texts, setup.scale, setup.encoder, base_maps(setup))


class Saft:
    """The objective. maps: (N, T) attention maps of the base model on the clean images."""

    def __init__(
        self, params: Params, texts: Tensor, scale: float, encoder: ImageEncoder, maps: Tensor
    ) -> None:
        self.params = params
        self.texts = texts
        self.mean_text = texts.mean(1)
        self.scale = scale
        self.maps = maps
        self.factor = upsampling_factor(encoder.grid[0], encoder.image_size).to(texts.device)

    def attack_loss(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy against the whole ensemble: mean over K, sum over images."""
        logits = ensemble_logits(encoder(images).pooled, self.texts, self.scale)
        return ensemble_cross_entropy(logits, batch.labels).sum()

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """One forward of the adversarial and clean halves gives logits and patch tokens."""
        features = encoder(torch.cat([images, batch.images]))
        logits = ensemble_logits(features.pooled, self.texts, self.scale)
        adversarial, clean = logits.chunk(2)
        text = self.mean_text[batch.labels]
        maps = attention_map(encoder.project(features), torch.cat([text, text]))
        base = self.maps[batch.numbers]
        cross_entropy = ensemble_cross_entropy(adversarial, batch.labels).mean()
        refinement = map_distance(maps[: len(base)], base, self.factor)
        constraint = map_distance(maps[len(base) :], base, self.factor)
        loss = (
            cross_entropy
            + self.params.attention_refinement * refinement
            + self.params.attention_constraint * constraint
        )
        return {
            "loss": loss,
            "cross_entropy": cross_entropy,
            "attention_refinement": refinement,
            "attention_constraint": constraint,
            "adversarial_accuracy": ensemble_accuracy(adversarial, batch.labels),
            "clean_accuracy": ensemble_accuracy(clean, batch.labels),
        }


def ensemble_logits(pooled: Tensor, texts: Tensor, scale: float) -> Tensor:
    """(B, C, K) logits of (B, D) unit-norm images against (C, K, D) unit-norm texts: caption
    slot k is a C-way classifier of its own; features are never averaged."""
    classes, captions, width = texts.shape
    logits = scale * pooled @ texts.reshape(classes * captions, width).T
    return logits.view(-1, classes, captions)


def ensemble_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) cross-entropy of each image, averaged over its K caption slots."""
    targets = labels[:, None].expand(-1, logits.shape[2])
    return F.cross_entropy(logits, targets, reduction="none").mean(1)


def ensemble_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of images whose mean logits over the captions name their class."""
    return (logits.detach().mean(2).argmax(1) == labels).float().mean()


@torch.no_grad()
def base_maps(setup: Setup) -> Tensor:
    """(N, T) attention maps of the base encoder on the clean training images.

    Preprocessing is deterministic, so one pass serves every epoch.
    """
    encoder, device = setup.encoder, setup.texts.device
    mean_text = setup.texts.mean(1)
    maps = []
    for start in track(range(0, len(setup.pixels), setup.batch_size), "base attention maps"):
        part = slice(start, start + setup.batch_size)
        images = torch.from_numpy(np.array(setup.pixels[part])).to(device).float().div_(255)
        labels = torch.from_numpy(setup.labels[part]).to(device)
        tokens = encoder.project(encoder(images))
        maps.append(attention_map(tokens, mean_text[labels]))
    return torch.cat(maps)

"""Contrastive pretraining of a small CLIP from scratch, for the demo and for machines offline.

Loss: the symmetric image-text cross-entropy of CLIP (Radford et al. 2021, section 2.3) with
every same-class pair of the batch counted as a positive (UniCL, Yang et al. 2022): small
sets repeat their classes within a batch, and a repeat is not a negative.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.clip.model import to_float_pixels
from pipeline.clip.schedule import warmup_cosine


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, match: Tensor) -> Tensor:
    """Symmetric cross-entropy between images and the distinct texts of a batch.

    Args:
        image: (B, D) unit-norm image features.
        text: (U, D) unit-norm text features, one per class in the batch.
        scale: exp(logit scale), a scalar.
        match: (B,) int64, the text row of each image.
    """
    logits = scale * image @ text.T
    positives = F.one_hot(match, len(text)).T.to(logits.dtype)
    positives = positives / positives.sum(1, keepdim=True)
    return (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, positives)) / 2


def pretrain_steps(
    model: Any,
    normalise: Callable[[Tensor], Tensor],
    tokenize: Callable[[list[str]], Tensor],
    pixels: np.ndarray,
    labels: np.ndarray,
    captions: Sequence[Sequence[str]],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    warmup_steps: int,
    seed: int,
    device: torch.device,
) -> Iterator[float]:
    """Train `model` in place, yielding the loss of each step.

    Args:
        model: an open_clip CLIP.
        pixels: uint8 (N, 3, S, S); normalise: maps [0, 1] pixels to the model's input.
        captions: for each class, the sentences its images may be paired with; every step
            draws one for each class in its batch, so each text is encoded once.
    """
    optimiser = torch.optim.AdamW(
        _groups(model, weight_decay), lr=learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True
    )
    rng = np.random.default_rng(seed)
    order = _epochs(len(pixels), batch_size, rng)
    model.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * warmup_cosine(step, warmup_steps, steps)
        index = next(order)
        image = to_float_pixels(pixels[index], device)
        image = _shift(image, rng)
        present, match = np.unique(labels[index], return_inverse=True)
        drawn = [captions[c][int(rng.integers(len(captions[c])))] for c in present.tolist()]
        text = model.encode_text(tokenize(drawn).to(device), normalize=True)
        features = model.encode_image(normalise(image), normalize=True)
        match = torch.from_numpy(match).to(device)
        loss = contrastive_loss(features, text, model.logit_scale.exp(), match)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, float(np.log(100)))
        yield loss.item()
    model.eval()


def _groups(model: nn.Module, weight_decay: float) -> list[dict]:
    # as in CLIP: no decay on gains, biases and the temperature
    flat = [p for p in model.parameters() if p.ndim < 2]
    full = [p for p in model.parameters() if p.ndim >= 2]
    return [{"params": full, "weight_decay": weight_decay}, {"params": flat, "weight_decay": 0.0}]


def _epochs(count: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        order = rng.permutation(count)
        for start in range(0, max(1, count - batch_size + 1), batch_size):
            yield np.sort(order[start : start + batch_size])


def _shift(image: Tensor, rng: np.random.Generator, most: int = 2) -> Tensor:
    """Random translation by up to `most` pixels, the border repeated."""
    size = image.shape[-1]
    top, left = rng.integers(0, 2 * most + 1, size=2)
    padded = F.pad(image, (most, most, most, most), mode="replicate")
    return padded[:, :, top : top + size, left : left + size]

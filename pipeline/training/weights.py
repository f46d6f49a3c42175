"""The trained weights: averaging them over steps, mixing them with the base model."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.clip.model import ImageEncoder

Weights = Sequence[Tensor]


def trained(encoder: ImageEncoder) -> list[nn.Parameter]:
    """The weights with gradients, in the order of the module."""
    return [weight for weight in encoder.parameters() if weight.requires_grad]


@contextmanager
def without_gradients(encoder: ImageEncoder) -> Iterator[None]:
    """No gradients for any weight inside: the graph of an ascent then keeps what the pixels'
    gradient needs, and not the inputs of every layer."""
    weights = trained(encoder)
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def copies(weights: Weights) -> list[Tensor]:
    """Detached copies."""
    return [weight.detach().clone() for weight in weights]


@torch.no_grad()
def average_(average: Weights, weights: Weights, decay: float) -> None:
    """average <- decay * average + (1 - decay) * weights, in place, after every step.

    An exponential moving average that starts at the base weights.
    """
    torch._foreach_lerp_(list(average), list(weights), 1 - decay)


@torch.no_grad()
def assign_(weights: Weights, values: Iterable[Tensor]) -> None:
    """Overwrite the weights, one after another."""
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)


def mix_(weights: Weights, base: Weights, alpha: float) -> None:
    """weights <- (1 - alpha) * base + alpha * weights, in place; 0 and 1 give either, bit for
    bit.

    Source: WiSE-FT (Wortsman et al. 2022); TeCoA's release offers it.
    """
    if alpha == 1:
        return
    if alpha == 0:  # a product with zero would lose the sign of -0.0
        assign_(weights, base)
        return
    assign_(weights, (torch.lerp(b, w.detach(), alpha) for b, w in zip(base, weights, strict=True)))

"""Which weights are trained; averaging them over steps, mixing them with the base model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.clip.model import ImageEncoder
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE

Weights = Sequence[Tensor]


def train_last_blocks(encoder: ImageEncoder, count: int | None) -> None:
    """Gradients for the last `count` transformer blocks, `ln_post` and `proj` alone; for the
    whole image encoder if None.

    Raises:
        UserError: the encoder has fewer blocks.
    """
    visual = encoder.visual
    visual.requires_grad_(count is None)
    if count is None:
        return
    blocks = visual.transformer.resblocks
    if count > len(blocks):
        raise UserError(
            f"{PARAMS_FILE}: finetune.last_blocks is {count}, the image encoder has "
            f"{len(blocks)} blocks; null trains them all"
        )
    part: nn.Module
    for part in [*blocks[-count:], visual.ln_post]:
        part.requires_grad_(True)
    visual.proj.requires_grad_(True)


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
def assign_(weights: Weights, values: Weights) -> None:
    """Overwrite the weights."""
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
    assign_(weights, [torch.lerp(b, w.detach(), alpha) for b, w in zip(base, weights, strict=True)])

"""Low-rank adaptation, LoRA (Hu et al., ICLR 2022): `finetune.lora`.

The matrices of the trained blocks (queries, keys and values, the attention's output, both of the
MLP) stay as they are; what is trained is a difference of rank r for each:
    W = W0 + alpha / r * B A,  A (r, columns) drawn at random, B (rows, r) zero at the start
All else stays frozen. Merging writes W in W0's place: the saved model is a plain CLIP.

PyTorch's own parametrisations do the work: every use of a weight computes W anew.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pipeline.clip.model import ImageEncoder
from pipeline.common.bounds import Factor, Few
from pipeline.common.params import Section
from pipeline.training.blocks import block_range


class LoraParams(Section):
    """Section `finetune.lora`."""

    rank: Few
    alpha: Factor


@dataclass(frozen=True)
class Lora:
    """rank: r; alpha: see above."""

    rank: int
    alpha: float


class LowRank(nn.Module):
    """W0 -> W0 + factor * B A."""

    def __init__(self, rows: int, columns: int, lora: Lora, seed: torch.Generator) -> None:
        super().__init__()
        self.factor = lora.alpha / lora.rank
        bound = 1 / math.sqrt(columns)  # as torch draws a linear layer's
        drawn = torch.empty(lora.rank, columns).uniform_(-bound, bound, generator=seed)
        self.down, self.up = nn.Parameter(drawn), nn.Parameter(torch.zeros(rows, lora.rank))

    def forward(self, weight: Tensor) -> Tensor:
        """(rows, columns) in, the same out."""
        return weight + self.factor * (self.up @ self.down).to(weight.dtype)


def add_lora(encoder: ImageEncoder, lora: Lora, blocks: str | None, seed: int) -> None:
    """Give the matrices of the blocks that `blocks` names a trained difference, in place, and
    gradients to nothing else. The encoder computes what it did."""
    device, generator = encoder.mean.device, torch.Generator().manual_seed(seed)
    encoder.requires_grad_(False)
    for module, name in _matrices(encoder, blocks):
        rows, columns = getattr(module, name).shape
        difference = LowRank(rows, columns, lora, generator).to(device)
        parametrize.register_parametrization(module, name, difference)


@torch.no_grad()
def scale_lora(encoder: ImageEncoder, share: float) -> None:
    """W <- W0 + share * (W - W0), in place; the difference is trained on from there."""
    for module in [m for m in encoder.modules() if isinstance(m, LowRank)]:
        module.up.mul_(share)


@torch.no_grad()
def merge_lora(encoder: ImageEncoder, share: float) -> None:
    """Write W0 + share * (W - W0) in W0's place: the encoder has plain weights again, W0's names;
    with share 0 they are W0, bit for bit."""
    scale_lora(encoder, share)
    for module in [m for m in encoder.modules() if parametrize.is_parametrized(m)]:
        for name in list(module.parametrizations):  # type: ignore[union-attr, arg-type]
            parametrize.remove_parametrizations(module, name, leave_parametrized=share != 0)


def _matrices(encoder: ImageEncoder, blocks: str | None) -> list[tuple[nn.Module, str]]:
    """(module, name of its weight) for each matrix of the blocks."""
    layers = encoder.visual.transformer.resblocks
    chosen = block_range(blocks, len(layers))
    return [
        pair
        for block in layers[chosen.start : chosen.stop]
        for pair in (
            (block.attn, "in_proj_weight"),
            (block.attn.out_proj, "weight"),
            (block.mlp.c_fc, "weight"),
            (block.mlp.c_proj, "weight"),
        )
    ]

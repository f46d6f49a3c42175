"""The precisions and layers that are measured against each other, and how an encoder gets them.

`float32` is the image encoder as it comes. `lean`: attention without the copies of
nn.MultiheadAttention and the patch embedding as a matrix product. `bf16`: the blocks under
autocast, pixels, patch product and features in float32. `compile`: torch.compile per block.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.precision import allow_tf32, available
from pipeline.clip import Features, ImageEncoder

REFERENCE = "float32"
VARIANTS = (
    REFERENCE,
    "float32+lean",
    "tf32",
    "tf32+lean",
    "bf16",
    "bf16+lean",
    "bf16+lean+compile",
)


def measured(device: torch.device) -> list[str]:
    """The variants that a device can run; compiled ones on CUDA only, where they may pay."""
    return [
        name
        for name in VARIANTS
        if precision(name) in available(device) and (device.type == "cuda" or not compiled(name))
    ]


def precision(variant: str) -> str:
    """float32, tf32 or bf16."""
    return variant.split("+")[0]


def compiled(variant: str) -> bool:
    """Whether the blocks are compiled."""
    return "compile" in variant.split("+")


def prepare(encoder: ImageEncoder, variant: str) -> None:
    """Turn an encoder into a variant, in place; sets the process's TF32 flags too."""
    allow_tf32(precision(variant) == "tf32")
    visual: Any = encoder.visual
    half = precision(variant) == "bf16"
    if half or "+lean" in variant:
        visual.conv1 = PatchProduct(visual.conv1)
    if "+lean" in variant:
        for block in visual.transformer.resblocks:
            block.__class__ = LeanBlock
    if half:
        encoder.forward = _half_forward(encoder)  # type: ignore[method-assign]
    if compiled(variant):
        for block in visual.transformer.resblocks:
            block.forward = torch.compile(block.forward, fullgraph=True)


@contextmanager
def frozen_for_ascents(encoder: ImageEncoder, variant: str) -> Iterator[None]:
    """Weights without gradients where the blocks are compiled: such a graph computes every
    gradient it can, whatever autograd.grad asks for."""
    if not compiled(variant):
        yield
        return
    encoder.visual.requires_grad_(False)
    try:
        yield
    finally:
        encoder.visual.requires_grad_(True)


class PatchProduct(nn.Module):
    """A patch convolution (stride = kernel) as one matrix product, in float32 also under
    autocast; the weight keeps its key."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, W, S / p, S / p) for patches of p pixels."""
        with torch.autocast(images.device.type, enabled=False):
            images, weight = images.float(), self.weight.float()
            side = weight.shape[-1]
            count, channels, size, _ = images.shape
            grid = size // side
            patches = images.view(count, channels, grid, side, grid, side)
            rows = patches.permute(0, 2, 4, 1, 3, 5).reshape(count * grid * grid, -1)
            product = (rows @ weight.flatten(1).T).view(count, grid * grid, -1)
            return product.transpose(1, 2).reshape(count, -1, grid, grid)


class LeanBlock(ResidualAttentionBlock):
    """A block whose attention does without nn.MultiheadAttention's copies. A method, not a
    closure: torch.compile then needs one graph for all blocks."""

    def attention(
        self,
        q_x: Tensor,
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """Self-attention of (B, T, W) tokens, without a mask."""
        attn, (count, tokens, width) = self.attn, q_x.shape
        packed = F.linear(q_x, attn.in_proj_weight, attn.in_proj_bias)
        heads = packed.view(count, tokens, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return attn.out_proj(mixed.transpose(1, 2).reshape(count, tokens, width))


def _half_forward(encoder: ImageEncoder) -> Any:
    def forward(images: Tensor) -> Features:
        normalised = (images - encoder.mean) / encoder.std
        with torch.autocast(images.device.type, torch.bfloat16):
            embedding, tokens = encoder.visual(normalised)
        return Features(embedding.float(), tokens.float())

    return forward

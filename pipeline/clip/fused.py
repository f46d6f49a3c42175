"""open_clip's transformers without the copies: the same function and the same state dict.

Three parts are exchanged in place. On a CPU, attention and QuickGELU give the same bits as
open_clip's in the forward pass and in the gradient of the images; the gradients of attention's
own weights are sums in another order, and differ in the last bits. So does the patch embedding
as one matrix product (it spares cuDNN a strided convolution that it is slow at).
"""

from typing import Any

import torch
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 1.702  # of QuickGELU: x * sigmoid(1.702 x)


class FusedBlock(ResidualAttentionBlock):
    """A residual block whose queries, keys and values come out of one product without the
    transposed copies of `nn.MultiheadAttention`. A class, not a closure per block: torch.compile
    then makes one graph for all blocks."""

    def attention(
        self,
        q_x: Tensor,
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """Self-attention of (B, T, W) tokens; keys and values of their own are not supported."""
        if k_x is not None or v_x is not None:
            raise ValueError("a fused block attends to its own tokens only")
        attention, (batch, tokens, width) = self.attn, q_x.shape
        mixed = F.linear(q_x, attention.in_proj_weight, attention.in_proj_bias)
        heads = mixed.view(batch, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        mask = None if attn_mask is None else attn_mask.to(mixed.dtype)
        query, key, value = heads.unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return attention.out_proj(attended.transpose(1, 2).reshape(batch, tokens, width))


class _QuickGelu(torch.autograd.Function):
    """x * sigmoid(1.702 x), its temporaries written in place."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        gate = (SLOPE * inputs).sigmoid_()
        ctx.save_for_backward(inputs, gate)
        return inputs * gate

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        inputs, gate = ctx.saved_tensors
        through_gate = torch.ops.aten.sigmoid_backward(gradient * inputs, gate).mul_(SLOPE)
        return through_gate.add_(gradient * gate)


class FusedQuickGELU(nn.Module):
    """QuickGELU with one backward instead of four."""

    def forward(self, inputs: Tensor) -> Tensor:
        return _QuickGelu.apply(inputs)


class PatchProduct(nn.Module):
    """The patch embedding as one matrix product. Same key, `weight` (W, 3, P, P), as the
    convolution that it stands for, whose stride is its kernel's size."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, W, S / P, S / P)."""
        side, (batch, channels, size, _) = self.weight.shape[-1], images.shape
        grid = size // side
        cells = images.view(batch, channels, grid, side, grid, side).permute(0, 2, 4, 1, 3, 5)
        patches = cells.reshape(batch * grid * grid, channels * side * side)
        embedded = patches @ self.weight.flatten(1).T
        return embedded.view(batch, grid, grid, -1).permute(0, 3, 1, 2)


def fuse_blocks(transformer: Any) -> None:
    """Exchange attention and QuickGELU of open_clip's transformer, in place, where its blocks
    are of the plain kind."""
    for block in transformer.resblocks:
        if type(block) is not ResidualAttentionBlock or not block.attn.batch_first:
            continue
        block.__class__ = FusedBlock
        if type(block.mlp.gelu) is QuickGELU:
            block.mlp.gelu = FusedQuickGELU()


def fuse(visual: Any) -> None:
    """Exchange all three parts of open_clip's vision transformer, in place; a part that is not
    of the plain kind stays as it is."""
    fuse_blocks(visual.transformer)
    convolution = visual.conv1
    tiles = type(convolution) is nn.Conv2d and convolution.stride == convolution.kernel_size
    square = tiles and len({*convolution.kernel_size}) == 1 and convolution.bias is None
    if square and all(side % convolution.stride[0] == 0 for side in visual.image_size):
        visual.conv1 = PatchProduct(convolution)

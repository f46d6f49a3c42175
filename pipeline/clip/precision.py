"""How the blocks of the image transformer compute: float32, TF32 or bf16.

Pixels, perturbation, projection, normalisation, patch embedding, residual stream, the last norm,
logits and losses are float32 always: the spacing of bf16 numbers in [2, 4) is 0.0156, and
epsilon = 1/255 after CLIP's normalisation is 0.0146 to 0.0153. Trained weights and the optimiser
are float32 too.
    tf32   float32 whose matrix products round their factors to 10 bits; CUDA only
    bf16   matrix products and attention of the blocks on 8 bits, by torch's autocast
"""

import copy
from typing import Any, Literal

import torch
from open_clip.transformer import Transformer
from torch import Tensor, nn

from pipeline.clip.device import allow_tf32
from pipeline.common.errors import UserError

Precision = Literal["float32", "tf32", "bf16"]
TENSOR_CORES = (8, 0)  # compute capability from which a card has TF32 and bf16 products


def precision_name(precision: Precision, compiled: bool) -> str:
    """What an attack's forward and backward passes are called, e.g. "bf16", "compiled float32"."""
    return f"compiled {precision}" if compiled else precision


def describe_precision(precision: Precision, compiled: bool) -> str:
    """What a threat model says of it."""
    attack = precision_name(precision, compiled)
    return attack if attack == "float32" else f"attack {attack}, verdict float32"


def check_precision(precision: Precision, key: str, device: torch.device) -> None:
    """Raise UserError, naming the `key` of params.yaml, unless the device computes in it."""
    if precision == "float32":
        return
    if device.type != "cuda":
        if precision == "tf32":
            raise UserError(
                f"params.yaml: {key}: tf32 exists on CUDA devices only, this is {device.type}; "
                "use float32 or bf16"
            )
        return
    if torch.cuda.get_device_capability(device) < TENSOR_CORES:
        name = torch.cuda.get_device_name(device)
        raise UserError(f"params.yaml: {key}: {name} has no {precision} products; use float32")


class PrecisionTransformer(Transformer):
    """open_clip's transformer whose blocks compute in `precision`, float32 in and out."""

    precision: Precision

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """(B, T, W) tokens, float32, to the same."""
        if self.precision == "bf16":
            with torch.autocast(x.device.type, torch.bfloat16):
                return super().forward(x, attn_mask).float()
        if self.precision == "tf32":
            inner = _Switch.apply(x, True, False)
            return _Switch.apply(super().forward(inner, attn_mask), False, True)
        return super().forward(x, attn_mask)


class _Switch(torch.autograd.Function):
    """The identity; sets `allow_tf32` when it is passed forwards and when backwards, so that the
    products before and after the blocks stay float32 in both directions."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, forwards: bool, backwards: bool) -> Tensor:
        ctx.backwards = backwards
        allow_tf32(forwards)
        return tokens.view_as(tokens)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        allow_tf32(ctx.backwards)
        return gradient, None, None


def set_precision(visual: Any, precision: Precision) -> None:
    """Let the blocks of open_clip's vision transformer compute in `precision`, in place."""
    transformer = visual.transformer
    if precision != "float32" and not isinstance(transformer, Transformer):
        raise UserError(
            f"params.yaml: {precision} needs a plain vision transformer, which the image encoder "
            "is not; use float32"
        )
    if isinstance(transformer, Transformer):
        transformer.__class__ = PrecisionTransformer
        transformer.precision = precision


def frozen_copy(encoder: nn.Module, precision: Precision, compiled: bool) -> Any:
    """A copy of an image encoder whose weights have no gradients, for ascents and for attacks.

    The matrices of its blocks are bf16 where the precision is: nothing is cast in a forward.
    compiled: its blocks go through torch.compile. Compiled code computes the gradients of all
    weights that have one, asked for or not, so only a frozen copy may be compiled for an attack.
    """
    frozen: Any = copy.deepcopy(encoder).requires_grad_(False).eval()
    set_precision(frozen.visual, precision)
    if precision == "bf16":
        for module in frozen.visual.transformer.resblocks.modules():
            if isinstance(module, nn.Linear | nn.MultiheadAttention):
                module.bfloat16()
    if compiled:
        compile_blocks(frozen.visual)
    return frozen


@torch.no_grad()
def refresh(frozen: nn.Module, encoder: nn.Module) -> None:
    """Give the copy the encoder's present weights, rounded where the copy's are bf16."""
    torch._foreach_copy_(list(frozen.parameters()), list(encoder.parameters()))


def compile_blocks(visual: Any) -> None:
    """One graph for all blocks, by torch.compile; made at their first use."""
    for block in visual.transformer.resblocks:
        block.compile(fullgraph=True)

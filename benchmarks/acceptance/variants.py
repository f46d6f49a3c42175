"""The variants of the image encoder that are measured against each other.

A name is a precision (float32, tf32, bf16: of the blocks, all else is float32), followed by
`+compile` where the blocks go through torch.compile. `unfused` is float32 through open_clip's own
layers, without `pipeline.fused`.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.precision import available
from benchmarks.setting import Setting, make_scene
from pipeline.clip import ImageEncoder
from pipeline.device import allow_tf32

REFERENCE, UNFUSED, FAST = "float32", "unfused", "bf16"
VARIANTS = (REFERENCE, UNFUSED, "tf32", FAST, "bf16+compile")


def measured(device: torch.device) -> list[str]:
    """The variants that a device can run; compiled ones on CUDA only, where they may pay."""
    return [
        name
        for name in VARIANTS
        if precision(name) in available(device) and (device.type == "cuda" or not compiled(name))
    ]


def precision(variant: str) -> str:
    """float32, tf32 or bf16."""
    return REFERENCE if variant == UNFUSED else variant.split("+")[0]


def compiled(variant: str) -> bool:
    """Whether the blocks are compiled."""
    return variant.endswith("+compile")


def prepare(encoder: ImageEncoder, variant: str, plain: nn.Module | None = None) -> None:
    """Turn an encoder into a variant, in place; sets the process's TF32 flag too. plain: see
    `plain_tower`, needed for UNFUSED."""
    allow_tf32(precision(variant) == "tf32")
    if variant == UNFUSED:
        assert plain is not None
        exchanged = copy.deepcopy(plain).to(encoder.mean.device)
        exchanged.load_state_dict(encoder.visual.state_dict())
        encoder.visual = exchanged
    if precision(variant) == "bf16":
        _blocks_in_bf16(encoder.visual.transformer)
    if compiled(variant):
        for block in encoder.visual.transformer.resblocks:
            block.compile(fullgraph=True)


def plain_tower(setting: Setting) -> nn.Module:
    """open_clip's image tower of a setting, on the CPU, as open_clip builds it."""
    visual = make_scene(setting).base.model.visual
    visual.output_tokens = True
    return visual


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


def _blocks_in_bf16(transformer: Any) -> None:
    whole = transformer.forward

    def forward(tokens: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        with torch.autocast(tokens.device.type, torch.bfloat16):
            return whole(tokens, attn_mask).float()

    transformer.forward = forward

"""How many images an encoder has seen, and the FLOPs of that."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipeline.clip.model import Features, ImageEncoder
from pipeline.common.errors import UserError
from pipeline.cost import vision_transformer as vit


@dataclass
class Work:
    """Images encoded. plain: without a graph; ascents: with one to the pixels (a step of an
    attack); descents: with one to the weights only (a step of training)."""

    plain: int = 0
    ascents: int = 0
    descents: int = 0

    def clear(self) -> None:
        """Count from zero again."""
        self.plain = self.ascents = self.descents = 0


def count(encoder: ImageEncoder, work: Work) -> None:
    """Add every later forward of `encoder`, or of a copy of it, to `work`."""

    def add(_: object, given: tuple[Tensor, ...], result: Features) -> None:
        if given[0].requires_grad:
            work.ascents += len(given[0])
        elif result.embedding.requires_grad:
            work.descents += len(given[0])
        else:
            work.plain += len(given[0])

    encoder.register_forward_hook(add)  # a function: copies of the encoder share it


def flop(work: Work, model_cfg: dict[str, Any], last_blocks: int | None = None) -> float | None:
    """FLOPs of the encoder's matrix products, backward included; None unless it is a ViT.

    Args:
        model_cfg: open_clip's; last_blocks: how many blocks are trained, None for all.
    """
    try:
        shape = vit.read(model_cfg)
    except UserError:
        return None
    forwards, ascents = work.plain * vit.forward_flop(shape), work.ascents * vit.ascend_flop(shape)
    return forwards + ascents + work.descents * vit.descend_flop(shape, last_blocks)

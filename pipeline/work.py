"""How many images an encoder has seen, and the FLOPs of that."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipeline import vit
from pipeline.clip import Features, ImageEncoder
from pipeline.errors import UserError


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


Seen = list[tuple[Work, str, int]]
"""(counter, its field, images) of some forwards."""
_set_aside: list[Seen] = []  # of the innermost `set_aside` last


def count(encoder: ImageEncoder, work: Work) -> None:
    """Add every later forward of `encoder`, or of a copy of it, to `work`."""

    def seen(_: object, given: tuple[Tensor, ...], result: Features) -> None:
        if given[0].requires_grad:
            kind = "ascents"
        else:
            kind = "descents" if result.embedding.requires_grad else "plain"
        forward = (work, kind, len(given[0]))
        if _set_aside:
            _set_aside[-1].append(forward)
        else:
            add([forward])

    encoder.register_forward_hook(seen)  # a function: copies of the encoder share it


def add(forwards: Seen) -> None:
    """Count forwards that were set aside."""
    for work, kind, images in forwards:
        setattr(work, kind, getattr(work, kind) + images)


@contextmanager
def set_aside() -> Iterator[Seen]:
    """Forwards inside are listed instead of counted: they are recorded in a CUDA graph, and
    counted with `add` whenever it runs."""
    _set_aside.append([])
    try:
        yield _set_aside[-1]
    finally:
        _set_aside.pop()


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

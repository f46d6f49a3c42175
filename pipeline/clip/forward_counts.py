"""How many images an encoder has encoded, counted by what their forward passes are for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from pipeline.clip.model import Features, ImageEncoder


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

    def seen(_: object, arguments: tuple[Tensor, ...], result: Features) -> None:
        if arguments[0].requires_grad:
            kind = "ascents"
        else:
            kind = "descents" if result.embedding.requires_grad else "plain"
        forward = (work, kind, len(arguments[0]))
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

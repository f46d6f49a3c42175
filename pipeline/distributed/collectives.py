"""What ranks exchange. With one process every function here does nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline.common.errors import UserError, listed, one_line
from pipeline.distributed.ranks import Ranks, blocks

T = TypeVar("T")


class Unreachable(UserError):
    """Another rank is gone. Its own message, if it had time for one, says more."""


@contextmanager
def report_unreachable(ranks: Ranks) -> Iterator[None]:
    """Turn what torch raises when another rank is gone into `Unreachable`."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = one_line(error)
        raise Unreachable(
            f"rank {ranks.rank} of {ranks.size} lost the other processes ({reason})"
        ) from None


def sum_gradients(trained: Sequence[nn.Parameter], ranks: Ranks) -> None:
    """Replace every gradient by its sum over all ranks, the same bits on each.

    All gradients travel as one flat float32 tensor. A weight that has none has none anywhere:
    every rank runs the same operations.
    """
    if ranks.size == 1:
        return
    weights = [weight for weight in trained if weight.grad is not None]
    flat = torch.cat([weight.grad.flatten() for weight in weights])  # type: ignore[union-attr]
    with report_unreachable(ranks):
        dist.all_reduce(flat)
    parts = flat.split([weight.numel() for weight in weights])
    for weight, part in zip(weights, parts, strict=True):
        weight.grad = part.view_as(weight)


def fill_blocks(values: Tensor, ranks: Ranks) -> None:
    """Complete (N, ...) `values`, of which this rank has its block, in place."""
    if ranks.size == 1:
        return
    with report_unreachable(ranks):
        for rank, rows in enumerate(blocks(len(values), ranks)):
            if rows.stop > rows.start:
                dist.broadcast(values[rows], src=rank)


def gather(value: T, ranks: Ranks) -> list[T]:
    """What every rank has, in their order: plain values that can be pickled."""
    if ranks.size == 1:
        return [value]
    everywhere = [value] * ranks.size
    with report_unreachable(ranks):
        dist.all_gather_object(everywhere, value)
    return everywhere


def check_agreement(values: Mapping[str, Any], ranks: Ranks, advice: str) -> None:
    """Raise UserError, on every rank, unless the named values are the same on all.

    The message names the first rank that differs from rank 0, in what, and `advice`.
    """
    everywhere = gather(dict(values), ranks)
    for rank, theirs in enumerate(everywhere):
        names = sorted({*everywhere[0], *theirs})
        differing = [name for name in names if theirs.get(name) != everywhere[0].get(name)]
        if differing:
            raise UserError(
                f"rank {rank} of {ranks.size} differs from rank 0 in "
                f"{listed(differing, 3)}; {advice}"
            )

"""One process among several that train one model together, and its share of a batch.

Every process ("rank") knows the whole batch by its image numbers and computes on a block of
consecutive rows of it; `pipeline.distributed.gathered` puts the features together again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist

from pipeline.clip import device
from pipeline.common import progress
from pipeline.common.errors import UserError, one_line


class Ranks(NamedTuple):
    """rank: this process, from 0; size: how many there are. Rank 0 alone prints and writes."""

    rank: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0


SINGLE = Ranks(0, 1)


def block(count: int, ranks: Ranks) -> slice:
    """The rows of `count` that are this rank's: a block of consecutive ones, all blocks the same
    length or one shorter; empty where there are fewer rows than ranks.

    Example, 10 rows for 4 ranks: 0-1, 2-4, 5-6, 7-9.
    """
    return slice(count * ranks.rank // ranks.size, count * (ranks.rank + 1) // ranks.size)


def blocks(count: int, ranks: Ranks) -> list[slice]:
    """The blocks of all ranks, in order: together they are all rows."""
    return [block(count, Ranks(rank, ranks.size)) for rank in range(ranks.size)]


def rows_to_compute(count: int, ranks: Ranks) -> slice:
    """`block`, or the first row where that is empty: a rank without rows goes through the same
    operations as the others and drops the result."""
    rows = block(count, ranks)
    return rows if rows.stop > rows.start else slice(0, 1)


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """Join the processes that RANK, WORLD_SIZE, LOCAL_RANK and MASTER_ADDR (as torchrun sets
    them) speak of; SINGLE where there is no RANK. SAFT_DEVICE becomes this rank's device.

    Raises:
        UserError: the rank has no CUDA device of its own, or the others cannot be reached.
    """
    ranks = Ranks(_number("RANK", 0), _number("WORLD_SIZE", 1))
    if ranks.size == 1:
        yield SINGLE
        return
    if not ranks.first:
        progress.silence()
    on_cuda = wants_cuda()
    if on_cuda:
        os.environ[device.VARIABLE] = f"cuda:{_number('LOCAL_RANK', 0)}"
        device.pick_device()
    try:
        dist.init_process_group("nccl" if on_cuda else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = one_line(error)
        raise UserError(f"the {ranks.size} processes do not find each other: {reason}") from None
    yield ranks
    dist.destroy_process_group()  # not after an error: the others may be gone already


def wants_cuda() -> bool:
    """Whether the ranks compute on CUDA devices, by SAFT_DEVICE.

    Raises:
        UserError: it names one CUDA device, of which every rank needs its own.
    """
    name = os.environ.get(device.VARIABLE, "auto")
    if name.startswith("cuda:"):
        raise UserError(
            f"{device.VARIABLE}={name} names one device, and several processes need one each; use "
            "cuda or auto, and CUDA_VISIBLE_DEVICES for a choice"
        )
    return name == "cuda" or (name == "auto" and torch.cuda.is_available())


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable, str(default))
    if not value.isdecimal():
        raise UserError(f"{variable}={value}: not a number; torchrun and srun set it")
    return int(value)

"""The resume state of a training that several processes share: rank 0 writes, all read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.clip.origins import fingerprint
from pipeline.common import scratch
from pipeline.distributed.collectives import check_agreement, gather
from pipeline.distributed.ranks import Ranks
from pipeline.training import checkpoint


@contextmanager
def work_folder(stage: str, origins: Mapping[str, str], ranks: Ranks) -> Iterator[Path]:
    """`scratch.locked` for all ranks, by the lock of rank 0.

    Raises:
        UserError: another process is doing the same work, or the ranks run on different code, data,
            params or devices.
    """
    advice = "every process needs the same params.yaml, code, data and kind of device"
    check_agreement(origins, ranks, advice)
    mark = fingerprint(origins)
    if ranks.first:
        with scratch.locked(stage, mark) as folder:
            yield folder
    else:
        yield scratch.folder(stage, mark)


def has_state(folder: Path, ranks: Ranks) -> bool:
    """Whether rank 0 sees a resume state, the same answer on every rank."""
    return gather(checkpoint.state_file(folder).exists(), ranks)[0]


def load_state(folder: Path, ranks: Ranks) -> dict[str, Any] | None:
    """`checkpoint.load_state` on every rank, at the same step.

    Raises:
        UserError: the file is damaged, or not every rank sees the same one.
    """
    state = checkpoint.load_state(folder)
    advice = ".scratch/ must lie on a file system that all nodes share; set DVC_ROOT to one"
    step = state["step"] if state else None
    check_agreement({f"the resume state below {folder}": step}, ranks, advice)
    return state

"""A stage for several processes, without work: `python -m tests.support.ranked_stage MODE FOLDER`.

Every rank leaves its process id in FOLDER; then the mode says what becomes of which rank.
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from pipeline.common.errors import UserError
from pipeline.distributed.collectives import report_unreachable
from pipeline.distributed.ranks import Ranks, join_ranks
from stages.ranked import ranked
from stages.runner import stage


@stage("demo")
@ranked("tests.support.ranked_stage")
def main() -> None:
    with join_ranks() as ranks:
        mode, folder = sys.argv[1], Path(sys.argv[2])
        (folder / f"{ranks.rank}.pid").write_text(f"{os.getpid()} {ranks.size}")
        behave(mode, ranks)


def behave(mode: str, ranks: Ranks) -> None:
    if ranks.rank == 1 and mode == "fail":
        raise UserError("data/x: not found; get it")
    if ranks.rank == 1 and mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "well":
        value = torch.ones(1)
        with report_unreachable(ranks):
            dist.all_reduce(value)
        os.write(1, f"rank {ranks.rank}: {value.item():.0f} processes\n".encode())  # at once
        return
    for _ in range(600):
        with report_unreachable(ranks):
            dist.all_reduce(torch.ones(1))
        time.sleep(0.1)


if __name__ == "__main__":
    main()

"""Starting the ranks of a stage, from inside the stage: DVC runs `python -m stages.<name>`.

SAFT_PROCESSES=N starts N ranks on this machine by torch's elastic launcher. Under torchrun RANK is
set already, and under srun it follows from Slurm's variables: then nothing is started here.
"""

import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import NamedTuple

import torch

from pipeline.common.errors import UserError
from pipeline.distributed.orphans import end_with_parent
from pipeline.distributed.ranks import wants_cuda

VARIABLE = "SAFT_PROCESSES"
MESSAGES = "SAFT_RANK_MESSAGES"  # folder of the ranks' error messages, in a launched rank only
INTERRUPTED = 130
LOST = 3  # exit status of a rank that lost the others
ENDED = (-signal.SIGTERM, 128 + signal.SIGTERM)  # exit codes of ranks that the launcher ends


class Failure(NamedTuple):
    """How a rank that the launcher started failed: one line, and the exit status for it."""

    message: str
    status: int


def processes_to_start() -> int:
    """N of SAFT_PROCESSES where ranks are still to be started; 1 where one process does, or the
    ranks are there already. Takes the rank from Slurm where srun started several tasks.

    Raises:
        UserError: it is not a number, below 1, or above the number of CUDA devices.
    """
    text = os.environ.get(VARIABLE, "1")
    if not re.fullmatch(r"[1-9]\d*", text):
        raise UserError(f"{VARIABLE}={text}: how many processes train together: 1 or more")
    if "RANK" in os.environ:
        return 1
    if adopt_slurm(os.environ):
        if int(text) > 1:
            raise UserError(f"{VARIABLE}={text}: srun has started the processes; unset it")
        return 1
    if int(text) > 1 and wants_cuda() and int(text) > torch.cuda.device_count():
        raise UserError(
            f"{VARIABLE}={text}: torch sees {torch.cuda.device_count()} CUDA devices, and every "
            "process needs one; lower it or set SAFT_DEVICE=cpu"
        )
    return int(text)


def adopt_slurm(environment: MutableMapping[str, str]) -> bool:
    """Set torch's variables from those of a task that srun started with others; whether it did.

    A batch script has SLURM_PROCID and SLURM_NTASKS too, although it is not a task of a step:
    SLURM_STEP_NUM_TASKS, which only srun sets, distinguishes them.
    """
    size = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if size == "1" or "SLURM_PROCID" not in environment:
        return False
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    step = int(environment.get("SLURM_JOB_ID", "0")) + int(environment.get("SLURM_STEP_ID", "0"))
    environment.update(
        RANK=environment["SLURM_PROCID"],
        WORLD_SIZE=size,
        LOCAL_RANK=environment.get("SLURM_LOCALID", "0"),
    )
    environment.setdefault("MASTER_ADDR", first_host(nodes) or "localhost")
    environment.setdefault("MASTER_PORT", str(10000 + step % 20000))
    return True


def first_host(nodes: str) -> str:
    """The first host of Slurm's list, e.g. "gpu03" of "gpu[03-05,09],big1"."""
    match = re.match(r"([^\[,]*)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in match.groups()) if match else ""


def start(module: str, count: int) -> None:
    """Run `python -m <module>` with this process's arguments `count` times, as ranks, to the end.

    Raises:
        UserError: a rank failed; the message is its own, or says what it died of.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP came, here or to a rank; no rank is left.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # it would tell every failure once more, over forty lines
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        run_id="saft",
        max_restarts=0,
        monitor_interval=0.1,
    )
    with tempfile.TemporaryDirectory(prefix="saft-ranks-") as folder:
        os.environ[MESSAGES] = folder
        try:
            elastic_launch(config, sys.executable)("-m", module, *sys.argv[1:])
        except SignalException:
            raise KeyboardInterrupt from None
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            failure = explain(read_messages(Path(folder)), codes, count)
        else:
            return
    if failure.status == INTERRUPTED:
        raise KeyboardInterrupt
    raise UserError(failure.message)


def explain(messages: dict[int, Failure], codes: dict[int, int], count: int) -> Failure:
    """The one failure to tell the user, of what ranks said and of their exit codes.

    One rank's end makes the others lose it; those say nothing (`leave`).
    """
    if messages:
        rank = min(messages)
        failure = messages[rank]
        prefix = "" if rank == 0 else f"rank {rank} of {count}: "
        return Failure(prefix + failure.message, failure.status)
    rank = min(codes, key=lambda rank: (codes[rank] in ENDED, codes[rank] == LOST, rank))
    if codes[rank] < 0:
        name = signal.Signals(-codes[rank]).name
        return Failure(f"rank {rank} of {count} was killed by {name} (out of memory?)", 1)
    return Failure(f"rank {rank} of {count} ended with status {codes[rank]}, see above", 1)


def launched() -> bool:
    """Whether `start` started this process as a rank."""
    return MESSAGES in os.environ and "RANK" in os.environ


def prepare_rank() -> None:
    """What a rank that `start` started does first. The launcher ends ranks with SIGTERM when
    another one failed: rank 0, which writes, then clears away what is half-written; none says
    that it was interrupted."""
    end_with_parent()
    if os.environ["RANK"] == "0":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_message(failure: Failure) -> None:
    """Tell the launcher why this rank ends."""
    file = Path(os.environ[MESSAGES]) / f"{os.environ['RANK']}.txt"
    partial = file.with_suffix(".partial")
    partial.write_text(f"{failure.status}\n{failure.message}", encoding="utf-8")
    partial.replace(file)


def read_messages(folder: Path) -> dict[int, Failure]:
    """By rank, what `leave_message` left."""
    messages = {}
    for file in folder.glob("*.txt"):
        status, message = file.read_text(encoding="utf-8").split("\n", 1)
        messages[int(file.stem)] = Failure(message, int(status))
    return messages

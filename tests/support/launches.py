"""Starting processes of a stage in the tests, and a stand-in for Slurm's srun."""

import os
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


SLURM = """#!/bin/sh
# stands in for Slurm's srun: `srun N COMMAND ...` runs N tasks and fails if one does
count=$1; shift
tasks=""
for task in $(seq 0 $((count - 1))); do
    SLURM_JOB_ID=71 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=$count SLURM_NTASKS=$count \\
    SLURM_STEP_NODELIST=localhost SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    tasks="$tasks $!"
done
status=0
for task in $tasks; do wait "$task" || status=1; done
exit $status
"""


def environment(**extra: str) -> dict[str, str]:
    """The caller's, with the code of this repository, one thread and no rank."""
    drop = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "DVC_STAGE", "DVC_ROOT", "SAFT_PROCESSES")
    kept = {key: value for key, value in os.environ.items() if key not in drop}
    defaults = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SAFT_DEVICE": "cpu"}
    return kept | defaults | extra


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "zombie" not in status.read_text()


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)

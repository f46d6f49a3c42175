"""What a training cost, kept beside the resume states and not among DVC's outputs: times are
never the same twice.

    $DVC_ROOT/.scratch/costs/<first 16 hex digits of the sha256 of the model's weights>.json
A model that came out of DVC's cache on another machine has no such file there.
"""

import hashlib
import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.tables import read_json, write_json


class Timing(NamedTuple):
    """seconds: wall time of the optimiser loop; steps: those that this process did."""

    seconds: float
    steps: int


class Cost(NamedTuple):
    """device: its name; seconds_per_epoch: wall time of the optimiser loop, from the steps of
    this process (`steps_timed`, fewer than all in a resumed run);
    peak_memory_bytes: of torch on CUDA, else of the process; threads: of torch on the CPU."""

    method: str
    title: str
    device: str
    seconds_per_epoch: float
    peak_memory_bytes: int
    steps_timed: int
    threads: int


def measured(method: str, title: str, timing: Timing, per_epoch: int, device: torch.device) -> Cost:
    """The cost of a training that has just ended. per_epoch: steps of one epoch."""
    return Cost(
        method=method,
        title=title,
        device=device_name(device),
        seconds_per_epoch=timing.seconds / timing.steps * per_epoch,
        peak_memory_bytes=peak_memory(device),
        steps_timed=timing.steps,
        threads=torch.get_num_threads(),
    )


def write_cost(cost: Cost, weights: Path) -> None:
    """Write it for the model in `weights`, below $DVC_ROOT (the main repository, even in
    `dvc exp run --temp`)."""
    write_json(_path(weights, Path(os.environ.get("DVC_ROOT", "."))), cost._asdict())


def read_cost(weights: Path, root: Path) -> dict[str, Any] | None:
    """The fields of `Cost` for the model in `weights`, or None where it was not trained in
    the repository `root`.

    Raises:
        UserError: the file is not JSON.
    """
    path = _path(weights, root)
    return read_json(path) if path.is_file() else None


def peak_memory(device: torch.device) -> int:
    """Bytes: torch's peak on a CUDA device, else the largest resident size of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes


def device_name(device: torch.device) -> str:
    """The GPU's or the CPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _path(weights: Path, root: Path) -> Path:
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return root / ".scratch" / "costs" / f"{digest[:16]}.json"

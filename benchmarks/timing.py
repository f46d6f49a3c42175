"""Seconds and peak memory of a call on a device."""

import gc
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def wait(device: torch.device) -> None:
    """Until `device` (not merely the current one) has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(
    run: Callable[[], Any], device: torch.device, repeats: int = 1, warmup: int = 0
) -> float:
    """Median over `repeats` calls, each until the device is idle."""
    for _ in range(warmup):
        run()
    taken = []
    for _ in range(repeats):
        wait(device)
        started = time.perf_counter()
        run()
        wait(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def release_memory(device: torch.device) -> None:
    """Free what nothing refers to any more, and reset the peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    reset_peak(device)


def reset_peak(device: torch.device) -> None:
    """Let the next `peak` count from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        _CLEAR.write_text("5")  # see proc(5): VmHWM is reset


def peak(device: torch.device) -> int | None:
    """Bytes allocated at most on a CUDA device, or resident at most in this process (Linux);
    None where it cannot be read."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not _CLEAR.exists():
        return None
    line = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    return int(line[1]) * 1024 if line else None

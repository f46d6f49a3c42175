"""What a stage costs: time, energy, memory, and the work of its encoders."""

import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.clip import forward_counts
from pipeline.clip.forward_counts import Work
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import Precision
from pipeline.cost import energy, work
from pipeline.cost.files import Cost, Training, write_cost
from pipeline.cost.matrix_speed import matrix_flop


class Spent(NamedTuple):
    """seconds: wall time; joules: of the GPU, None where nobody counts them; work: the images
    that the encoders saw in this process, by the precision of their blocks."""

    seconds: float
    joules: float | None
    work: dict[Precision, Work]


class Meter:
    """Runs from its creation, or from `start`, to `stop`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.work: dict[Precision, Work] = {}
        self.start()

    def watch(self, encoder: ImageEncoder, precision: Precision) -> None:
        """Count the images that `encoder`, and copies that are made of it later, see."""
        forward_counts.count(encoder, self.work.setdefault(precision, Work()))

    def start(self) -> None:
        """Start again from zero; the encoders stay watched."""
        for counted in self.work.values():
            counted.clear()
        self._joules, self._started = energy.joules(self.device), time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time, energy and images inside count as if they were not spent."""
        before = self.stop()
        with forward_counts.set_aside():
            yield
        after = self.stop()
        self._started += after.seconds - before.seconds
        if self._joules is not None and before.joules is not None and after.joules is not None:
            self._joules += after.joules - before.joules

    def stop(self) -> Spent:
        """What was spent since the start."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds, joules = time.perf_counter() - self._started, energy.joules(self.device)
        if joules is not None and self._joules is not None:
            joules -= self._joules
        return Spent(seconds, joules, {name: replace(w) for name, w in self.work.items()})


class Run(NamedTuple):
    """What was measured. stage: as DVC calls it; images: see `Cost`; model_cfg: open_clip's, of
    the encoder; trained: positions of its trained blocks, None for all; processes: that shared the
    work."""

    stage: str
    images: int
    model_cfg: dict[str, Any]
    trained: range | None = None
    processes: int = 1


def record(
    run: Run, spent: Spent, device: torch.device, output: Path, training: Training | None = None
) -> None:
    """Keep what a run cost for its `output`, and print a line on it."""
    cost = measured(run, spent, device)
    write_cost(cost, output, training)
    print(f"{run.stage}: {line(cost)}", flush=True)


def measured(run: Run, spent: Spent, device: torch.device) -> Cost:
    """The cost of what has just ended; the products are timed now, on the device as it is."""
    flop = {
        name: work.flop(counted, run.model_cfg, run.trained) for name, counted in spent.work.items()
    }
    known = {name: value for name, value in flop.items() if value}
    speeds = {name: matrix_flop(device, name) for name in sorted(known)}
    return Cost(
        stage=run.stage,
        device=device_name(device),
        threads=torch.get_num_threads(),
        processes=run.processes,
        seconds=spent.seconds,
        images=run.images,
        images_per_second=run.images / spent.seconds,
        peak_memory_bytes=peak_memory(device),
        energy_joules=spent.joules,
        work={name: asdict(counted) for name, counted in spent.work.items()},
        flop=sum(known.values()) or None,
        matrix_flop_per_second=speeds,
        share=share(known, spent.seconds, speeds),
    )


def share(
    flop: dict[Precision, float], seconds: float, speeds: dict[Precision, float]
) -> float | None:
    """How much of `seconds` the products would take at the measured speeds; None where nothing
    was counted."""
    return sum(flop[name] / speeds[name] for name in flop) / seconds if flop else None


def line(cost: Cost) -> str:
    """One line for people."""
    products = ", ".join(
        f"{name} {speed / 1e9:,.0f}" for name, speed in cost.matrix_flop_per_second.items()
    )
    rate = f"{cost.images:,} images in {cost.seconds:.1f} s, {cost.images_per_second:,.1f} images/s"
    if cost.share is None:
        return rate
    return f"{rate}: {cost.share:.0%} of the speed of matrix products here ({products} GFLOP/s)"


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

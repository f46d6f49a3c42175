"""What a bare training step leaves out: reading, logging and resume states."""

import copy
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.acceptance.context import Context
from benchmarks.project import Project
from pipeline.training import checkpoint
from pipeline.training.loop import Resume, finetune

STEPS, TINY_STEPS = 24, 2


def loop(context: Context, project: Project) -> dict[str, Any]:
    """`finetune` itself over packed pixels on disk, with two resume states; images/s without the
    seconds of the states, which are told apart."""
    steps = TINY_STEPS if context.tiny else STEPS
    pixels, labels = _packed(context, steps * context.batch, project.batch.images.shape[-1])
    objective: Any = copy.copy(project.objective)
    maps = objective.base.values[:1].expand(len(pixels), -1).contiguous()
    objective.base = replace(objective.base, values=maps)
    scratch, saving = Path(tempfile.mkdtemp(dir=context.scratch)), []

    def save(state: Any) -> None:
        started = time.perf_counter()
        checkpoint.save_state(scratch, state)
        saving.append(time.perf_counter() - started)

    rows = finetune(
        project.encoder, objective, pixels, labels, project.recipe, context.device,
        Resume(None, save, lambda step: step % max(1, steps // 3) == 0),
    )  # fmt: skip
    whole = timing.seconds_of(lambda: list(rows), context.device)
    return {
        "images_per_second": len(pixels) / (whole - sum(saving)),
        "seconds_per_resume_state": saving,
    }


def _packed(context: Context, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images in a memory map, as `prepare` leaves them, and their labels."""
    file = Path(tempfile.mkdtemp(dir=context.scratch)) / "images.npy"
    shape = (count, 3, size, size)
    written = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    written[:] = np.random.default_rng(0).integers(0, 256, (1, *shape[1:]), dtype=np.uint8)
    written.flush()
    return np.load(file, mmap_mode="r"), np.zeros(count, dtype=np.int64)

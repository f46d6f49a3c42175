"""What a bare training step leaves out: reading, logging and resume states; CUDA graphs."""

import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import timing
from benchmarks.acceptance.context import Context
from benchmarks.project import Project
from pipeline.clip.precision import frozen_copy
from pipeline.training import checkpoint
from pipeline.training.loop import Resume, finetune
from pipeline.training.step import start_seed
from pipeline.zeroshot import perturbation as attack

STEPS, TINY_STEPS = 12, 2


def loop(context: Context, project: Project) -> dict[str, Any]:
    """`finetune` itself over packed pixels on disk, with two resume states; images/s without the
    seconds of the states, which are told apart."""
    steps = TINY_STEPS if context.tiny else STEPS
    pixels, labels = _packed(context, steps * context.batch, project.batch.images.shape[-1])
    objective: Any = copy.copy(project.objective)
    objective.maps = objective.maps[:1].expand(len(pixels), -1).contiguous()
    scratch, saving = Path(tempfile.mkdtemp(dir=context.folder)), []

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
    file = Path(tempfile.mkdtemp(dir=context.folder)) / "images.npy"
    shape = (count, 3, size, size)
    written = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    written[:] = np.random.default_rng(0).integers(0, 256, (1, *shape[1:]), dtype=np.uint8)
    written.flush()
    return np.load(file, mmap_mode="r"), np.zeros(count, dtype=np.int64)


def graphed_ascents(context: Context, project: Project) -> dict[str, Any]:
    """The two ascents of a step as one CUDA graph: seconds, and whether the result is the eager
    one's, bit for bit."""
    ascend = two_ascents(project)
    eager = ascend().clone()
    stream = torch.cuda.Stream(context.device)
    stream.wait_stream(torch.cuda.current_stream(context.device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            ascend()
    torch.cuda.current_stream(context.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = ascend()
    graph.replay()
    return {
        "eager_seconds": context.seconds(ascend),
        "graph_seconds": context.seconds(graph.replay),
        "equals_eager": torch.equal(captured, eager),
    }


def two_ascents(project: Project) -> Callable[[], Tensor]:
    """What `project.perturb(2)` computes, its start drawn and its encoder copied beforehand."""
    images, radius = project.batch.images, 1 / 255
    generator = torch.Generator(images.device).manual_seed(start_seed(project.recipe.seed, 0))
    start = attack.uniform_start(images, radius, generator)
    frozen = frozen_copy(project.encoder, project.recipe.precision, compiled=False)
    loss: Any = project.objective.attack_loss
    return lambda: attack.perturb(
        lambda perturbed: loss(frozen, perturbed, project.batch),
        images, start, epsilon=radius, step_size=radius, steps=2,
    )  # fmt: skip

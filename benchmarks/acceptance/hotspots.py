"""Kernels of a training step, the lines that make the host wait, and memory by batch size."""

import collections
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import timing
from benchmarks.acceptance import variants
from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import Result
from benchmarks.project import Project
from benchmarks.setting import make_scene
from pipeline.training.objective import Batch

ROWS = 40  # of the profile
BATCHES, TINY_BATCHES = (32, 64, 128, 256, 512), (2, 4)


def hotspots(context: Context, result: Result) -> None:
    """Profiles as text next to the JSON, in float32 and bf16; on CUDA kernels per step and waits
    by source line."""
    setting = context.setting()
    scene = make_scene(setting)
    for name in (variants.REFERENCE, variants.FAST):
        if name in variants.measured(context):
            result[name] = {}
            _profile(context, result[name], variants.build(scene, setting, name), name)
            context.report.write()
            context.release_memory()


def _profile(context: Context, result: Result, project: Project, variant: str) -> None:
    for _ in range(2):  # the second captures the attack's CUDA graph
        project.train_step()
    if context.cuda:
        result["waits"] = _waits(project.train_step)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if context.cuda:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profile:
        project.train_step()
        timing.wait(context.device)
    events = profile.key_averages()
    key = f"self_{context.device.type}_time_total"
    table = events.table(sort_by=key, row_limit=ROWS, max_name_column_width=80)
    result["profile"] = f"profile_{variant}.txt"
    (context.folder / result["profile"]).write_text(table, encoding="utf-8")
    if context.cuda:
        on_device = (event for event in events if str(event.device_type).endswith("CUDA"))
        result["kernels_per_step"] = sum(event.count for event in on_device)


def _waits(run: Callable[[], Any]) -> dict[str, int]:
    """Synchronisations during a call: file and line -> how many."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    lines = (
        f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)
    )
    return dict(collections.Counter(lines))


def memory(context: Context, result: Result) -> None:
    """GiB that torch holds for training steps by batch size, CUDA graph included, in float32 and
    bf16; None: out of memory."""
    sizes = TINY_BATCHES if context.tiny else BATCHES
    setting = context.setting(sizes[-1])
    scene = make_scene(setting)
    for name in (variants.REFERENCE, variants.FAST):
        if name in variants.measured(context):
            project = variants.build(scene, setting, name)
            result[name] = {}
            _peaks(context, result[name], project, sizes)


def _peaks(context: Context, peaks: Result, project: Project, sizes: tuple[int, ...]) -> None:
    batch = project.batch
    for size in sizes:
        project.drop_graph()
        context.release_memory()
        project.batch = Batch(*(None if value is None else value[:size] for value in batch))
        try:
            for _ in range(2):
                project.train_step()
            peaks[str(size)] = context.held_gib()
        except torch.OutOfMemoryError:
            peaks[str(size)] = None
        context.report.write()

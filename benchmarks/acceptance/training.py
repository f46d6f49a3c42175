"""Training at the published setting: every variant's step and ascent, and the whole loop."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.acceptance import variants
from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import Result
from benchmarks.acceptance.training_loop import loop
from benchmarks.flop import counter
from benchmarks.project import Project
from benchmarks.setting import Scene, Setting, make_scene
from pipeline.training.training_attack import Ascents

FLIP = 0.5 / 255  # two perturbations further apart than half a step: a flipped sign


def training(context: Context, result: Result) -> None:
    """Seconds, images/s, agreement with float32 and peak memory, by variant."""
    setting = context.setting()
    scene = make_scene(setting)
    result |= {"batch": context.batch, "flop_per_step": _flop(scene, setting), "variants": {}}
    reference = variants.build(scene, setting, variants.REFERENCE).perturb(2).cpu()
    for name in variants.measured(context):
        measured: Result = {}
        result["variants"][name] = measured
        if context.report.left() < variants.seconds(name):
            measured["skipped"] = f"{context.report.left():.0f} s left"
            continue
        try:
            with variants.environment(name):
                _variant(context, measured, name, scene, reference)
        except Exception as error:  # the other variants go on
            measured["error"] = f"{type(error).__name__}: {error}"[:1500]
            context.report.require(
                False, f"training variant {name} raised {measured['error'][:160]}"
            )
        context.report.write()
    if context.report.left() > variants.SECONDS:
        _repeats(context, result, scene)
    if not context.chosen and context.report.left() > variants.SECONDS:
        _deterministic_costs(context, result, variants.build(scene, setting, variants.REFERENCE))


def _repeats(context: Context, result: Result, scene: Scene) -> None:
    result["repeats_itself"] = {
        name: _repeats_itself(context, scene, name)
        for name in (variants.FAST, variants.REFERENCE)
        if name in variants.measured(context)
    }


def _flop(scene: Scene, setting: Setting) -> int:
    """FLOP of a float32 training step, as executed."""
    project = variants.build(scene, setting, variants.REFERENCE)
    with counter() as counted:
        project.train_step()
    return counted.get_total_flops()


def _variant(
    context: Context, measured: Result, name: str, scene: Scene, reference: Tensor
) -> None:
    context.release_memory()
    project = variants.build(scene, context.setting(), name)
    apart = (project.perturb(2).cpu() - reference).abs() > FLIP
    measured["flipped_signs"] = apart.float().mean().item()
    if context.cuda and name != variants.EAGER:
        _compare_with_eager(context, measured, name, project)
    measured["ascent_seconds"] = context.seconds(lambda: project.perturb(1))
    project.drop_graph()
    context.release_memory()
    measured["step_seconds"] = context.seconds(project.train_step)
    measured["images_per_second"] = context.batch / measured["step_seconds"]
    measured["peak_gib"], measured["held_gib"] = context.peak_gib(), context.held_gib()
    measured["share_of_bf16_product"] = _share_of_bf16(context, measured["step_seconds"])
    context.report.write()
    if name != variants.UNFUSED:
        measured["loop"] = loop(context, project)


def _compare_with_eager(context: Context, measured: Result, name: str, project: Project) -> None:
    """The two ascents of a step as a CUDA graph and kernel by kernel: the same bits."""
    eager = project.perturb(2, Ascents(project.ascents.copy))
    graphed = [project.perturb(2) for _ in range(3)]  # captured, replayed
    replay = project.ascents.replay
    measured["graph_used"] = replay is not None and replay.holds_graph
    measured["graph_equals_eager"] = all(torch.equal(one, eager) for one in graphed)
    good = measured["graph_equals_eager"]
    context.report.require(good, f"training {name}: a CUDA graph's perturbation is not the eager")


def _share_of_bf16(context: Context, step_seconds: float) -> float | None:
    """FLOP per second of a step over those of a large bf16 product; None if that was not
    measured."""
    speeds = context.report.result("ceilings").get("product_tflop_per_second", {})
    if "bf16" not in speeds:
        return None
    flop = context.report.result("training")["flop_per_step"]
    return flop / step_seconds / 1e12 / speeds["bf16"]


def _repeats_itself(context: Context, scene: Scene, variant: str) -> bool:
    """Three steps, the last two of which attack by a CUDA graph where there are any, twice from
    the same weights: the same bits."""
    ends = []
    for _ in range(2):
        project = variants.build(scene, context.setting(), variant)
        for _ in range(3):
            project.train_step()
        ends.append({key: value.cpu() for key, value in project.encoder.state_dict().items()})
    same = all(value.equal(ends[1][key]) for key, value in ends[0].items())
    context.report.require(same, f"training steps of the full size, {variant}: two runs differ")
    return same


def _deterministic_costs(context: Context, result: Result, project: Project) -> None:
    """Seconds of a float32 step with uninitialised memory filled or not, and without
    deterministic kernels."""
    flags: Any = torch.utils.deterministic
    before = flags.fill_uninitialized_memory
    taken = {}
    for filled in (True, False):
        flags.fill_uninitialized_memory = filled
        taken["memory filled" if filled else "memory not filled"] = context.seconds(
            project.train_step
        )
    flags.fill_uninitialized_memory = before
    torch.use_deterministic_algorithms(False)
    project.drop_graph()  # it would keep the kernels that it has
    taken["not deterministic"] = context.seconds(project.train_step)
    torch.use_deterministic_algorithms(True)
    result["float32_step_seconds"] = taken

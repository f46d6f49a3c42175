"""Training at the published setting: every variant's step and ascent, and the whole loop."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.acceptance import variants
from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import Result
from benchmarks.acceptance.training_loop import graphed_ascents, loop
from benchmarks.flop import counter
from benchmarks.project import Project
from benchmarks.setting import make_scene
from pipeline.device import allow_tf32
from pipeline.finetune import make_optimiser
from pipeline.weights import trained

COMPILE_SECONDS = 150  # of the budget that must be left for a compiled variant
FLIP = 0.5 / 255  # two perturbations further apart than half a step: a flipped sign
WITH_LOOP = (variants.REFERENCE, variants.FAST)
Weights = dict[str, Tensor]


def training(context: Context, result: Result) -> None:
    """Seconds, images/s, agreement with float32 and peak memory, by variant."""
    setting = context.setting()
    first = Project(make_scene(setting), setting)
    weights = copy.deepcopy(first.encoder.state_dict())
    plain = variants.plain_tower(setting)
    with counter() as counted:
        copied(first, weights).train_step()
    result |= {"batch": context.batch, "flop_per_step": counted.get_total_flops(), "variants": {}}
    reference = copied(first, weights).perturb(2).detach()
    for name in variants.measured(context.device):
        if variants.compiled(name) and context.report.left() < COMPILE_SECONDS:
            result["variants"][name] = {"skipped": f"{context.report.left():.0f} s left"}
            continue
        entry: Result = {}
        result["variants"][name] = entry
        try:
            project = copied(first, weights)
            variants.prepare(project.encoder, name, plain)
            project.optimiser = make_optimiser(trained(project.encoder), project.recipe)
            _variant(context, entry, name, project, reference)
        except Exception as error:  # the other variants go on
            entry["error"] = f"{type(error).__name__}: {error}"[:1500]
            context.report.require(False, f"training variant {name} raised {entry['error'][:160]}")
        finally:
            allow_tf32(False)
        context.report.write()
    result["float32_repeats_itself"] = _repeats_itself(context, first, weights)
    _deterministic_costs(context, result, copied(first, weights))


def copied(first: Project, weights: Weights) -> Project:
    """A project with an encoder of its own at `weights`; objective and batch are shared."""
    project = copy.copy(first)
    project.encoder = copy.deepcopy(first.encoder)
    project.encoder.load_state_dict(weights)
    project.encoder.visual.requires_grad_(True)
    project.optimiser = make_optimiser(trained(project.encoder), project.recipe)
    return project


def step_of(project: Project, variant: str) -> Callable[[], Any]:
    """One training step of a variant: the pipeline's own, but for compiled blocks, whose ascents
    need frozen weights."""
    if not variants.compiled(variant):
        return project.train_step

    def step() -> Tensor:
        with variants.frozen_for_ascents(project.encoder, variant):
            images = project.batch.images + project.perturb(2)
        loss = project.objective.losses(project.encoder, images, project.batch)["loss"]
        project.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        project.optimiser.step()
        return loss.detach()

    return step


def _variant(
    context: Context, entry: Result, name: str, project: Project, reference: Tensor
) -> None:
    def perturb(steps: int) -> Tensor:
        with variants.frozen_for_ascents(project.encoder, name):
            return project.perturb(steps).detach()

    context.release_memory()
    apart = (perturb(2) - reference).abs() > FLIP
    entry["flipped_signs"] = apart.float().mean().item()
    entry["ascent_seconds"] = context.seconds(lambda: perturb(1))
    entry["step_seconds"] = context.seconds(step_of(project, name))
    entry["images_per_second"] = context.batch / entry["step_seconds"]
    entry["peak_gib"] = context.peak_gib()
    if name in WITH_LOOP:
        entry["loop"] = loop(context, project)
    if context.cuda and name == variants.FAST:
        entry["graphed_ascents"] = graphed_ascents(context, project)


def _repeats_itself(context: Context, first: Project, weights: Weights) -> bool:
    """One step twice from the same weights: the same bits."""
    ends = []
    for _ in range(2):
        project = copied(first, weights)
        project.train_step()
        ends.append(project.encoder.state_dict())
    same = all(value.equal(ends[1][key]) for key, value in ends[0].items())
    context.report.require(same, "training step of the full size: two runs differ")
    return same


def _deterministic_costs(context: Context, result: Result, project: Project) -> None:
    """Seconds of a float32 step with uninitialised memory filled or not, and without
    deterministic kernels."""
    flags = torch.utils.deterministic
    before = flags.fill_uninitialized_memory
    taken = {}
    for filled in (True, False):
        flags.fill_uninitialized_memory = filled
        taken["memory filled" if filled else "memory not filled"] = context.seconds(
            project.train_step
        )
    flags.fill_uninitialized_memory = before
    torch.use_deterministic_algorithms(False)
    taken["not deterministic"] = context.seconds(project.train_step)
    torch.use_deterministic_algorithms(True)
    result["float32_step_seconds"] = taken

"""Released code's steps and the pipeline's, one after the other on an otherwise empty device."""

import copy
import time
from typing import Any

import torch

from benchmarks import timing
from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import Result
from benchmarks.acceptance.time_limit import time_limit
from benchmarks.measure import VARIANTS, Outcome, Variant, first_step
from benchmarks.setting import Scene, Setting, make_scene
from benchmarks.training_step import check, outer_step

ORDER = ("pipeline", "released_amp", "released")  # the goal's ratio first
SECONDS_LEFT = 25  # of the budget for another variant
RATIOS = ("step_seconds", "ascent_seconds", "flop")


def against_released(context: Context, result: Result) -> None:
    """Same result, then seconds, memory and ratios; with half the batch where memory ends."""
    if not _compare(context, result, context.batch):
        # not in an `except`, whose traceback would hold the memory
        result.clear()
        result["out_of_memory"] = {"batch": context.batch}
        context.release_memory()
        if not _compare(context, result, context.batch // 2):
            raise torch.OutOfMemoryError(f"also at batch {context.batch // 2}")


def _compare(context: Context, result: Result, batch: int) -> bool:
    """Whether memory sufficed. Everything is written as soon as it is measured."""
    setting, firsts = context.setting(batch), {}
    scene = make_scene(setting)
    result |= {"batch": batch, "classes": setting.classes, "captions": setting.captions}
    result |= {"released_amp": outer_step(setting.device), "variants": {}}
    for name in ORDER:
        measured: Result = {}
        result["variants"][name] = measured
        if context.report.left() < SECONDS_LEFT:
            measured["skipped"] = f"{context.report.left():.0f} s left"
            continue
        context.release_memory()
        try:
            with time_limit(context.report.left() / 2):  # as much is left for the next
                firsts[name] = _measure(context, measured, name, scene, setting)
        except torch.OutOfMemoryError:
            return False
        except TimeoutError as error:
            measured["cut_off"] = str(error)
        finally:
            context.release_memory()
        if "cut_off" not in measured:
            _ratios(context, result, name)
        context.report.write()
    if {"released", "pipeline"} <= firsts.keys():
        result["agreement"] = check(firsts["released"], firsts["pipeline"], setting)
        violations = result["agreement"]["violations"]
        context.report.require(not violations, f"released and pipeline differ: {violations}")
    return True


def _measure(
    context: Context, measured: Result, name: str, scene: Scene, setting: Setting
) -> Outcome:
    """One variant on its own copy of the scene; what each part took is told, a slow one too."""
    started = time.perf_counter()
    variant: Variant = VARIANTS[name](copy.deepcopy(scene), setting)
    measured["build_seconds"] = time.perf_counter() - started
    context.report.write()
    measured["first_ascent_seconds"] = timing.seconds_of(lambda: variant.perturb(1), context.device)
    context.report.write()
    started = time.perf_counter()
    first = first_step(variant, setting.attack_steps)
    measured["first_step_seconds"] = time.perf_counter() - started
    measured["flop"] = first.flop["training_step"]
    context.report.write()
    measured["step_seconds"] = context.seconds(variant.train_step, repeats=2, warmup=1)
    measured["images_per_second"] = setting.batch_size / measured["step_seconds"]
    context.report.write()
    measured["ascent_seconds"] = context.seconds(lambda: variant.perturb(1), repeats=2, warmup=2)
    measured["peak_gib"] = context.peak_gib()
    return first


def _ratios(context: Context, result: Result, name: str) -> None:
    """A released variant against the pipeline, and section `training`, with all its classes,
    against it: images/s over its images/s, by training variant."""
    if name == "pipeline":
        return
    released = result["variants"][name]
    pipeline = result["variants"]["pipeline"]
    if "ascent_seconds" in pipeline:
        result[f"{name} / pipeline"] = {key: released[key] / pipeline[key] for key in RATIOS}
    compared: dict[str, Any] = result.setdefault("training_variants", {})
    trained = context.report.result("training").get("variants", {})
    for variant, measured in trained.items():
        if "images_per_second" in measured:
            speed = measured["images_per_second"] / released["images_per_second"]
            compared.setdefault(variant, {})[name] = speed

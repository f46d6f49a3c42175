"""Released code's steps and the pipeline's, one after the other on an otherwise empty device."""

from typing import Any

import torch

from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import Result
from benchmarks.measure import VARIANTS, Outcome, first_step
from benchmarks.setting import make_scene
from benchmarks.summary import RELEASED
from benchmarks.training_step import check, outer_step


def against_released(context: Context, result: Result) -> None:
    """Same result, then seconds, memory and ratios; with half the batch where memory ends."""
    batch = context.batch
    try:
        _compare(context, result, batch)
    except torch.OutOfMemoryError:
        result.clear()
        context.release_memory()
        _compare(context, result, batch // 2)


def _compare(context: Context, result: Result, batch: int) -> None:
    setting = context.setting(batch)
    firsts: dict[str, Outcome] = {}
    result |= {"batch": batch, "released_amp": outer_step(setting.device), "variants": {}}
    for name in VARIANTS:
        firsts[name], result["variants"][name] = _measure(context, name, batch)
    pipeline = result["variants"]["pipeline"]
    for name in RELEASED:
        released = result["variants"][name]
        result[f"{name} / pipeline"] = {
            key: released[key] / pipeline[key] for key in ("step_seconds", "ascent_seconds", "flop")
        }
    result["training_variants"] = _against_training(context, result["variants"])
    result["agreement"] = check(firsts["released"], firsts["pipeline"], setting)
    violations = result["agreement"]["violations"]
    context.report.require(not violations, f"released and pipeline differ: {violations}")


def _against_training(context: Context, measured: Result) -> dict[str, dict[str, float]]:
    """Variant of section `training` -> its images/s over those of both released ones."""
    trained = context.report.result("training").get("variants", {})
    return {
        name: {
            released: entry["images_per_second"] / measured[released]["images_per_second"]
            for released in RELEASED
        }
        for name, entry in trained.items()
        if "images_per_second" in entry
    }


def _measure(context: Context, name: str, batch: int) -> tuple[Outcome, dict[str, Any]]:
    """One variant, alone on the device, which nothing of it is left on at the end."""
    context.release_memory()
    measured = _timed(context, name, batch)
    context.release_memory()
    return measured


def _timed(context: Context, name: str, batch: int) -> tuple[Outcome, dict[str, Any]]:
    setting = context.setting(batch)
    variant = VARIANTS[name](make_scene(setting), setting)
    first = first_step(variant, setting.attack_steps)
    step = context.seconds(variant.train_step, repeats=3, warmup=1)
    return first, {
        "step_seconds": step,
        "images_per_second": batch / step,
        "ascent_seconds": context.seconds(lambda: variant.perturb(1), repeats=3, warmup=1),
        "flop": first.flop["training_step"],
        "peak_gib": context.peak_gib(),
    }

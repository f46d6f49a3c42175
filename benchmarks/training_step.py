"""Training step and PGD step of SAFT, as released and by this project, measured in one run:
`python -m benchmarks.training_step`.

Where the float32 variants do not agree on one batch, all is measured and written nevertheless,
and the exit status is 1.
"""

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import open_clip
import torch
import typer

from benchmarks.measure import STEPS, VARIANTS, Outcome, Timing, Worker
from benchmarks.released import amp_dtype
from benchmarks.setting import Setting
from benchmarks.summary import as_text, summarise
from pipeline.clip.device import pick_device
from pipeline.clip.precision import Precision
from pipeline.common.errors import UserError
from pipeline.cost.matrix_speed import precisions
from stages.runner import stage

# Difference of each term, relative to the whole loss. Both variants are float32 sums of the same
# numbers in another order. What that leaves depends on batch, texts, library and device: 0.3e-4 in
# the kept CPU result, 0.8e-4 with two images and four texts.
LOSS_TOLERANCE = 5e-4
GRADIENT_TOLERANCE = 1e-3  # difference of gradient norms, relative to the largest weight's
FLIP_TOLERANCE = 1e-3  # share of pixels
TERMS = ("loss", "cross_entropy", "attention_refinement", "attention_constraint")


def agreement(released: Outcome, pipeline: Outcome, setting: Setting) -> dict[str, float]:
    """How far two first steps are apart, in the units of the three tolerances.

    A sign flip moves a pixel by twice the step size unless the ball cuts it; more than half
    a step apart counts as a flip.
    """
    losses = [
        abs(released.losses[term] - pipeline.losses[term]) / abs(pipeline.losses["loss"])
        for term in TERMS
    ]
    largest = max(pipeline.gradients.values())
    names = released.gradients.keys() | pipeline.gradients.keys()
    gradients = [
        abs(released.gradients.get(name, np.inf) - pipeline.gradients.get(name, np.inf)) / largest
        for name in names
    ]
    apart = np.abs(released.perturbation - pipeline.perturbation)
    return {
        "loss": max(losses),
        "gradient": max(gradients),
        "flipped_signs": float((apart > 0.5 * setting.step_255 / 255).mean()),
    }


def check(released: Outcome, pipeline: Outcome, setting: Setting) -> dict[str, Any]:
    """The agreement: `difference`, `tolerance` and `violations`, one text for each difference
    above its tolerance."""
    limits = {
        "loss": LOSS_TOLERANCE,
        "gradient": GRADIENT_TOLERANCE,
        "flipped_signs": FLIP_TOLERANCE,
    }
    differences = agreement(released, pipeline, setting)
    # `not <=`, so that NaN fails
    violations = [
        f"{key} {value:.2g} > {limits[key]:.2g}"
        for key, value in differences.items()
        if not value <= limits[key]
    ]
    return {"difference": differences, "tolerance": limits, "violations": violations}


class Measured(NamedTuple):
    """One variant. first: its first step; timings: step -> one per repeat; speeds: precision ->
    TFLOP/s of matrix products (`pipeline.cost.matrix_speed`), one per repeat, or empty."""

    first: Outcome
    timings: dict[str, list[Timing]]
    speeds: dict[str, list[float]]


def measure_variant(
    name: str, setting: Setting, warmup: int, repeats: int, products: Sequence[Precision]
) -> Measured:
    """First step, then every repeat of both steps and of the products of `products`
    (precisions), in a process that has ended on return."""
    worker = Worker(name, setting)
    try:
        first = worker.ask("first_step")
        timings: dict[str, list[Timing]] = {step: [] for step in STEPS}
        speeds: dict[str, list[float]] = {precision: [] for precision in products}
        for repeat in range(-warmup, repeats):
            for step in STEPS:
                timing = worker.ask("time_step", step)
                if repeat >= 0:
                    timings[step].append(timing)
            for precision in products if repeat >= 0 else ():
                speeds[precision].append(worker.ask("matrix_flop", precision) / 1e12)
    finally:
        worker.close()
    return Measured(first, timings, speeds)


def measure(setting: Setting, warmup: int, repeats: int) -> dict[str, Any]:
    """Measure one variant after the other, then compare; what goes into the JSON file."""
    every = precisions(torch.device(setting.device))
    measured = {
        name: measure_variant(name, setting, warmup, repeats, every if name == "pipeline" else [])
        for name in VARIANTS
    }
    ceilings = {k: statistics.median(v) for k, v in measured["pipeline"].speeds.items()}
    timings = {(step, name): measured[name].timings[step] for step in STEPS for name in VARIANTS}
    flop = {(step, name): measured[name].first.flop[step] for step in STEPS for name in VARIANTS}
    return {
        "setting": asdict(setting)
        | {
            "dtype": "float32, TF32 off",
            "released_amp": outer_step(setting.device),
            "repeats": repeats,
        },
        "agreement": check(measured["released"].first, measured["pipeline"].first, setting),
        "ceiling_tflop_per_second": ceilings,
        "steps": summarise(timings, flop, setting.batch_size, ceilings),
    }


def outer_step(device: str) -> str:
    """The precision of `released_amp`, in words."""
    if amp_dtype(device) == torch.float16:
        return "outer step in float16 under autocast with a gradient scaler"
    return "outer step in bfloat16 under autocast, a dry run: this device has no float16 products"


def environment(device: torch.device) -> dict[str, Any]:
    """Device and versions."""
    cuda = device.type == "cuda"
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "peak_memory": "allocated on the device" if cuda else "resident in the process",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
    }


@stage("benchmark")
def main(
    model: Annotated[str, typer.Option(help="open_clip model")] = "ViT-B-32-quickgelu",
    model_config: Annotated[Path | None, typer.Option(help="JSON file, instead of model")] = None,
    pretrained: Annotated[str | None, typer.Option(help="tag; default: random weights")] = None,
    classes: Annotated[int, typer.Option(min=2)] = 200,
    captions: Annotated[int, typer.Option(min=1, help="K, per class")] = 5,
    batch_size: Annotated[int, typer.Option(min=1)] = 128,
    attack_steps: Annotated[int, typer.Option(min=1)] = 2,
    epsilon_255: Annotated[int, typer.Option(min=1, help="radius, in 1/255")] = 1,
    step_255: Annotated[float, typer.Option(min=0.001, help="step size, in 1/255")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    warmup: Annotated[int, typer.Option(min=0)] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write JSON here")] = None,
) -> None:
    """Measure the released and this project's training step and PGD step (device: SAFT_DEVICE)."""
    device = pick_device()
    setting = Setting(
        model=model_config.stem if model_config else model,
        model_config=str(model_config) if model_config else None,
        pretrained=pretrained,
        classes=classes,
        captions=captions,
        batch_size=batch_size,
        attack_steps=attack_steps,
        epsilon_255=epsilon_255,
        step_255=step_255,
        seed=seed,
        device=str(device),
    )
    summary = {"environment": environment(device)} | measure(setting, warmup, repeats)
    print(as_text(summary))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if violations := summary["agreement"]["violations"]:
        raise UserError(f"the variants do not compute the same thing: {', '.join(violations)}")


if __name__ == "__main__":
    typer.run(main)

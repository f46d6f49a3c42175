"""Training step and PGD step of SAFT, as released and by this project, measured in one run:
`python -m benchmarks.training_step`.

Before any timing the two variants have to agree on one batch; else the exit status is 1.
"""

import json
import platform
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import open_clip
import torch
import typer

from benchmarks.measure import STEPS, VARIANTS, Outcome, Timing, Worker
from benchmarks.setting import Setting
from benchmarks.summary import as_text, summarise
from pipeline.device import pick_device
from pipeline.errors import UserError
from stages.runner import stage

LOSS_TOLERANCE = 1e-4  # difference of each term, relative to the whole loss
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
    """The agreement and its tolerances.

    Raises:
        UserError: the variants do not compute the same thing.
    """
    limits = {
        "loss": LOSS_TOLERANCE,
        "gradient": GRADIENT_TOLERANCE,
        "flipped_signs": FLIP_TOLERANCE,
    }
    found = agreement(released, pipeline, setting)
    # `not <=`, so that NaN fails
    bad = [f"{k} {v:.2g} > {limits[k]:.2g}" for k, v in found.items() if not v <= limits[k]]
    if bad:
        raise UserError(f"the variants do not compute the same thing: {', '.join(bad)}")
    return {"difference": found, "tolerance": limits}


def measure(setting: Setting, warmup: int, repeats: int, product_size: int) -> dict[str, Any]:
    """Check, then time the variants in turn, A B A B; what goes into the JSON file."""
    workers: dict[str, Worker] = {}
    try:
        for name in VARIANTS:
            workers[name] = Worker(name, setting)
        first = {name: worker.ask("first_step") for name, worker in workers.items()}
        agreed = check(first["released"], first["pipeline"], setting)
        timings: dict[tuple[str, str], list[Timing]] = {}
        products = []
        for repeat in range(-warmup, repeats):
            for step in STEPS:
                for name, worker in workers.items():
                    timing = worker.ask("time_step", step)
                    if repeat >= 0:
                        timings.setdefault((step, name), []).append(timing)
            if repeat >= 0:
                products.append(workers["pipeline"].ask("product_seconds", product_size))
    finally:
        for worker in workers.values():
            worker.close()
    ceiling = 2 * product_size**3 / statistics.median(products) / 1e12
    flop = {(step, name): first[name].flop[step] for step in STEPS for name in VARIANTS}
    return {
        "setting": asdict(setting) | {"dtype": "float32, TF32 off", "repeats": repeats},
        "agreement": agreed,
        "ceiling": {"product_size": product_size, "tflop_per_second": ceiling},
        "steps": summarise(timings, flop, setting.batch_size, ceiling),
    }


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
    product_size: Annotated[
        int | None,
        typer.Option(min=1, help="rows of the matrix product; default: 8192 on CUDA, else 2048"),
    ] = None,
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
    size = product_size or (8192 if device.type == "cuda" else 2048)
    found = {"environment": environment(device)} | measure(setting, warmup, repeats, size)
    print(as_text(found))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

"""How the cost grows with images, classes, sentences per class, steps of an attack and processes:
`python -m benchmarks.scaling --json benchmarks/results/scaling.json`.

One axis changes at a time (see `benchmarks.scaling_work`); the points take turns, and of each the
fastest run counts. To each axis a straight line is fitted. On a CPU the seconds are those of the
processor, which other programs on it hardly change; of several processes, and on a GPU, those of
the clock.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer

from benchmarks.scaling_work import BATCH, MODEL, Took, Work, attack, train
from pipeline.clip.device import enable_determinism, pick_device
from pipeline.common.atomic import replacing_file
from pipeline.cost.matrix_speed import matrix_flop
from pipeline.cost.meter import device_name
from stages.runner import stage

AXES: dict[str, tuple[str, list[Work]]] = {
    "training: images": ("images", [Work(images=n) for n in (32, 64, 128, 256)]),
    "training: classes": ("classes", [Work(classes=n) for n in (10, 100, 300, 1000)]),
    "training: sentences per class": ("captions", [Work(captions=n) for n in (1, 5, 20, 50)]),
    "training: attack steps": ("steps", [Work(steps=n) for n in (1, 2, 4, 8)]),
    "evaluation: images": ("images", [Work(images=n, iterates=10) for n in (32, 64, 128, 256)]),
    "evaluation: classes": (
        "classes",
        [Work(classes=n, iterates=10) for n in (10, 100, 300, 1000)],
    ),
    "evaluation: PGD steps": ("iterates", [Work(iterates=n) for n in (5, 10, 20, 40)]),
    "evaluation: processes": ("processes", [Work(256, iterates=10, processes=n) for n in (1, 2)]),
}


class Line(NamedTuple):
    """seconds = fixed + slope x value; apart: the largest distance of a measured point from it,
    relative to the point."""

    fixed: float
    slope: float
    apart: float


def fit(values: list[int], seconds: list[float]) -> Line:
    """The line of least squared relative distances."""
    axis, took = np.asarray(values, dtype=float), np.asarray(seconds)
    slope, fixed = np.polyfit(axis, took, 1, w=1 / took)
    return Line(float(fixed), float(slope), float(np.abs((fixed + slope * axis) / took - 1).max()))


def measure(axes: dict[str, tuple[str, list[Work]]], repeats: int, device: torch.device) -> Any:
    """Per axis its values, the seconds of each and the fitted line."""
    runs: dict[Work, list[Took]] = {work: [] for _, works in axes.values() for work in works}
    for _ in range(repeats):
        for work, done in runs.items():
            done.append(attack(work, device) if work.iterates else train(work, device))
    measured = {}
    for name, (key, works) in axes.items():
        clock = "processor" if device.type == "cpu" and key != "processes" else "passed"
        values = [getattr(work, key) for work in works]
        fastest = [min(getattr(took, clock) for took in runs[work]) for work in works]
        measured[name] = {
            "clock": clock,
            "values": values,
            "seconds": fastest,
            "runs": [[took._asdict() for took in runs[work]] for work in works],
            "at": {k: v for k, v in works[0]._asdict().items() if k != key},
            "line": None if key == "processes" else fit(values, fastest)._asdict(),
        }
    return measured


def as_text(result: dict[str, Any]) -> str:
    """A Markdown table, an axis a row."""
    rows = ["| axis | seconds at each value | fitted line, seconds | largest distance |"]
    rows.append("|---|---|---|---:|")
    for name, axis in result["axes"].items():
        pairs = zip(axis["values"], axis["seconds"], strict=True)
        points = ", ".join(f"{value}: {took:.3f}" for value, took in pairs)
        line = axis["line"]
        text = f"{line['fixed']:.3f} + {line['slope']:.3g} n" if line else "–"
        apart = f"{line['apart']:.0%}" if line else "–"
        rows.append(f"| {name} | {points} | {text} | {apart} |")
    return "\n".join(rows)


@stage("scaling")
def main(
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    axis: Annotated[list[str] | None, typer.Option(help="part of an axis's name; all")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write JSON here")] = None,
) -> None:
    """Measure on SAFT_DEVICE; print the table."""
    device = pick_device()
    enable_determinism()
    chosen = {k: v for k, v in AXES.items() if not axis or any(part in k for part in axis)}
    result = {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "load_before": os.getloadavg()[0],
        "batch": BATCH,
        "model": MODEL["vision_cfg"],
        "repeats": repeats,
        "matrix_flop_per_second": matrix_flop(device, "float32"),
        "axes": measure(chosen, repeats, device),
        "load_after": os.getloadavg()[0],
    }
    print(as_text(result))
    if json_file:
        with replacing_file(json_file) as partial:
            partial.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

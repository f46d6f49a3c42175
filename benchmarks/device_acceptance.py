"""Correctness, speed and memory on a device in one command, from the repository root:

    python benchmarks/device_acceptance.py --out DIR --budget 500
    python benchmarks/device_acceptance.py --out DIR --device cpu --tiny

Every section is guarded and DIR/acceptance.json is written as soon as it, or a variant in it, is
done: neither a section that fails nor a run that is cut off loses another. Exit status 1 if a
check failed. The second line is a dry run without a GPU.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # before any CUDA
sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a file, only its folder is there

import typer

from benchmarks.acceptance import (
    against_released,
    attacks,
    ceilings,
    environment,
    evaluation,
    goals,
    hotspots,
    inputs,
    methods,
    training,
)
from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import Report
from benchmarks.acceptance.variants import VARIANTS
from pipeline.clip.device import VARIABLE, enable_determinism, pick_device
from pipeline.common.errors import UserError
from stages.runner import INTERRUPTED, stage

# name: (seconds of the budget it needs, section), in order
SECTIONS = {
    "environment": (0, environment.environment),
    "pixels": (5, inputs.pixels),
    "texts": (10, inputs.texts),
    "attacks": (30, attacks.attacks),
    "methods": (30, methods.methods),
    "ceilings": (15, ceilings.ceilings),
    "layers": (10, ceilings.layers),
    "training": (30, training.training),
    "evaluation": (30, evaluation.evaluation),
    "hotspots": (20, hotspots.hotspots),
    "memory": (25, hotspots.memory),
    "against_released": (30, against_released.against_released),
}


@stage("device_acceptance")
def main(
    out: Annotated[Path, typer.Option(help="folder for acceptance.json")],
    budget: Annotated[float, typer.Option(min=0, help="seconds; later sections are skipped")] = 500,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cuda",
    tiny: Annotated[bool, typer.Option("--tiny", help="small sizes: a dry run on a CPU")] = False,
    only: Annotated[str, typer.Option(help="sections, separated by commas")] = "",
    variants: Annotated[str, typer.Option(help="of training and evaluation, likewise")] = "",
) -> None:
    """Run all sections, print goals against measured values."""
    chosen = _chosen("--only", only, tuple(SECTIONS), "section")
    measured = _chosen("--variants", variants, VARIANTS, "variant")
    if chosen:
        chosen |= {"environment"}  # without it no number says where it was measured
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a folder")
    os.environ[VARIABLE] = device
    picked = pick_device()
    report = Report(out, budget, chosen)
    try:
        with _ended_as_interrupted():
            _measure(out, partial(Context, picked, tiny, out, report, measured))
    except KeyboardInterrupt:
        print(goals.as_text(goals.goals(report.content["sections"])), flush=True)
        print(f"interrupted; {report.file} has the sections before", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    reached = goals.goals(report.content["sections"])
    report.content["goals"] = [goal._asdict() for goal in reached]
    report.write()
    print(goals.as_text(reached))
    if failed := report.content["failed_checks"]:
        raise UserError(f"{len(failed)} failed checks, all in {report.file}: {failed[0]}")


def _chosen(flag: str, value: str, names: tuple[str, ...], kind: str) -> frozenset[str]:
    """The names that a flag lists; none for all."""
    chosen = frozenset(filter(None, value.split(",")))
    if unknown := sorted(chosen - set(names)):
        raise UserError(f"{flag} {','.join(unknown)}: no such {kind}; {', '.join(names)}")
    return chosen


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """SIGTERM, as of `timeout`, inside ends as Ctrl-C does: with the goals so far."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _measure(out: Path, context_with: Callable[[Path], Context]) -> None:
    """All sections in order, each from the same flags, on an empty device and with an empty folder
    for its own files."""
    for name, (needs, run) in SECTIONS.items():
        enable_determinism()
        with TemporaryDirectory(dir=out) as scratch:
            context = context_with(Path(scratch))
            context.report.section(name, needs, partial(run, context))
        context.release_memory()


if __name__ == "__main__":
    typer.run(main)

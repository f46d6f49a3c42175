"""The training step and the PGD step of this checkout against those of another commit, on the CPU.

    python -m benchmarks.against_commit 0f045b7 --classes 20 --captions 3 --batch-size 8

Both build ViT-B/32 with the same random weights, texts and images and take turns (A B A B), so
that a drift of the machine's speed hits both. What differs between their results is printed too.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).parents[1]
STEPS = ("training", "pgd")


class Side:
    """One checkout's process."""

    def __init__(self, tree: Path, options: dict[str, Any], perturbation: Path) -> None:
        self.perturbation = perturbation
        worker = str(ROOT / "benchmarks" / "commit_steps.py")
        self.process = subprocess.Popen(
            [sys.executable, worker, json.dumps(options), str(perturbation)],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree), "SAFT_DEVICE": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, word: str) -> Any:
        """The worker's answer."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"error: the process of {self.process.args} ended without an answer")
        return json.loads(line)

    def end(self) -> None:
        """Stop the worker."""
        self.process.kill()
        self.process.wait()


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The files of `commit`, in a folder of their own for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def differences(new: Side, old: Side) -> dict[str, Any]:
    """Between the first steps: largest relative difference of the loss terms, and the share of
    pixels whose perturbation is not the same."""
    losses = [side.ask("first") for side in (new, old)]
    terms = {key: abs(losses[0][key] - value) for key, value in losses[1].items()}
    perturbations = [np.load(side.perturbation) for side in (new, old)]
    moved = np.abs(perturbations[0] - perturbations[1]) > 0.5 / 255
    return {
        "loss terms, largest difference relative to the loss": max(terms.values())
        / abs(losses[1]["loss"]),
        "pixels perturbed otherwise": float(moved.mean()),
        "bit-equal perturbation": bool(np.array_equal(*perturbations)),
    }


def timed(new: Side, old: Side, repeats: int) -> dict[str, Any]:
    """Seconds of every step, taking turns, and the median ratio old / new pair by pair."""
    results = {}
    for step in STEPS:
        seconds = [(new.ask(step), old.ask(step)) for _ in range(repeats + 1)][1:]
        ratios = [before / now for now, before in seconds]
        results[step] = {
            "new s": statistics.median(now for now, _ in seconds),
            "old s": statistics.median(before for _, before in seconds),
            "ratio": statistics.median(ratios),
            "lowest ratio": min(ratios),
            "highest ratio": max(ratios),
        }
    return results


def main(
    commit: Annotated[str, typer.Argument(help="what to compare with")],
    classes: int = 20,
    captions: int = 3,
    batch_size: int = 8,
    repeats: int = 7,
) -> None:
    """Print differences and times as JSON."""
    options = {
        "model": "ViT-B-32-quickgelu",
        "model_config": None,
        "pretrained": None,
        "classes": classes,
        "captions": captions,
        "batch_size": batch_size,
        "attack_steps": 2,
        "epsilon_255": 1,
        "step_255": 1.0,
        "seed": 0,
        "device": "cpu",
    }
    with checkout(commit) as tree, tempfile.TemporaryDirectory() as scratch:
        sides = [Side(t, options, Path(scratch) / f"{i}.npy") for i, t in enumerate((ROOT, tree))]
        try:
            new, old = sides
            result = {"commit": commit, "differences": differences(new, old)}
            print(json.dumps(result | timed(new, old, repeats), indent=1))
        finally:
            for side in sides:
                side.end()


if __name__ == "__main__":
    typer.run(main)

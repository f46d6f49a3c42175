"""Each rank of test_distributed.py runs `python -m tests.support.rank_training CLIP OUT`.

Trains the tiny model by every method, in all ranks together and, on rank 0, once more alone;
rank 0 writes {case: [largest difference, largest move]}, every rank the digests of its weights.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.distributed.collectives import check_agreement
from pipeline.distributed.ranks import SINGLE, Ranks, join_ranks
from pipeline.training import checkpoint
from pipeline.training.published import TrainingAttack
from pipeline.training.validation import ROBUST
from tests.support.training_runs import Run, recipe, validation

# without signs: where a gradient is zero but for rounding, a sign is the whole step
L2 = TrainingAttack("l2", epsilon_255=200, step_255=100, steps=2, momentum=0, random_start=True)
METHODS = registry.names("pipeline.methods")
CASES: dict[str, dict[str, Any]] = {
    **{method: {"method": method, "attack": L2} for method in METHODS},
    "fare": {"method": "fare", "attack": L2, "learning_rate": 1e-3},
    "qt_aft": {"method": "qt_aft", "attack": L2, "learning_rate": 1e-3},  # steep: 10 / 0.07
    "pmg_aft as released": {
        "method": "pmg_aft",
        "options": {"variant": "release"},
        "attack": L2,
    },
    "linf": {"method": "tecoa"},
    "compiled": {"method": "tecoa", "attack": L2, "compile": True},
    "bf16": {"method": "saft", "attack": L2, "precision": "bf16"},
    "validated": {
        "method": "tecoa",
        "attack": L2,
        "epochs": 3,
        "averaging": 0.5,
        "validation": validation(keep_best=True, norm="l2", epsilon_255=100, step_255=50),
    },
    "flip": {"method": "saft", "attack": L2, "augmentation": "flip"},
    "crop": {"method": "comp_tga", "attack": L2, "augmentation": "crop"},
    "crop, attacked": {
        "method": "lore",
        "attack": L2,
        "learning_rate": 1e-3,
        "augmentation": "crop",
    },
    "everything": {
        "epochs": 2,
        "attack": L2,
        "optimiser": "adamw",
        "learning_rate": 1e-3,
        "averaging": 0.7,
        "mix_alpha": 0.5,
        "blocks": "last 1",
        "gradient_clip": 0.5,
    },
}


class Killed(Exception):
    pass


def run_of(folder: Path, case: str, ranks: Ranks) -> Run:
    """A run that starts near the base weights: at them the distance between the tuned and the
    base attention maps is zero but for rounding, and its gradient any unit vector."""
    run = Run(folder, recipe(**({"epochs": 1} | CASES[case])), ranks)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in run.encoder.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    return run


def difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Largest one, but for the biases of keys: they have no effect on attention, their gradient
    is rounding, and AdamW makes whole steps of it."""
    largest = 0.0
    for name, value in first.items():
        gap = (value - second[name]).abs()
        if name.endswith("attn.in_proj_bias"):
            queries, _, values = gap.chunk(3)
            gap = torch.cat([queries, values])
        largest = max(largest, gap.max().item())
    return largest


def digest(run: Run) -> str:
    sha256 = hashlib.sha256()
    for value in run.weights().values():
        sha256.update(value.numpy().tobytes())
    return sha256.hexdigest()


def resumed(folder: Path, out: Path, ranks: Ranks) -> Run:
    """A run of "everything" that is killed after step 4 and goes on from the state of rank 0."""

    def save(state: Any) -> None:
        if ranks.first:
            checkpoint.save_state(out, state)
        if state["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        run_of(folder, "everything", ranks).go(save=save)
    second = run_of(folder, "everything", ranks)
    assert len(second.go(checkpoint.load_state(out))) == 2
    return second


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    digests, differences = {}, {}
    with join_ranks() as ranks:
        with pytest.raises(UserError, match=f"rank 1 of {ranks.size} differs from rank 0 in b; "):
            check_agreement({"a": 1, "b": min(ranks.rank, 1)}, ranks, "fix it")
        check_agreement({"a": 1}, ranks, "fix it")
        for case in CASES:
            run = run_of(folder, case, ranks)
            base = run.weights()
            rows = run.go()
            digests[case] = digest(run)
            if ranks.first:
                alone = run_of(folder, case, SINGLE)
                logged = alone.go()
                losses = [row["loss"] for row in logged]
                differences[case] = {
                    "validation": [[row.get(ROBUST) for row in log] for log in (logged, rows)],
                    "weights": difference(run.weights(), alone.weights()),
                    "moved": difference(base, alone.weights()),
                    "loss": max(abs(a - b["loss"]) for a, b in zip(losses, rows, strict=True)),
                }
        digests["resumed"] = digest(resumed(folder, out, ranks))
    (out / f"digests-{ranks.rank}.json").write_text(json.dumps(digests))
    if ranks.first:
        (out / "differences.json").write_text(json.dumps(differences))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

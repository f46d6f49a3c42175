"""Runs of `saft compare` that nobody trained: made-up verdicts, in folders of their own."""

from pathlib import Path

import pytest

from pipeline.results.evaluated import read_evaluated
from saft.compare.arms import ComparedRun, Failed
from tests.support.report_inputs import ATTACKS, EPSILON, make_tree, write_set

COST = {"seconds_per_epoch": 12.34, "peak_memory_bytes": 3 * 2**20}
FAILURE = Failed("compare-tecoa-seed-1", "dvc exp run did not end well")
ASKED = {"finetune.epochs": 3}


def compared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, label: str, strength: float
) -> ComparedRun:
    """A run in a folder of its own, on the same images as the two other models of every run."""
    folder.mkdir()
    make_tree(folder)
    strengths = {"base": 0.02, "fare2": 0.4, "finetuned": strength}
    write_set(folder, "shapes", 300, strengths, 1)
    write_set(folder, "digits", 120, strengths | {"finetuned": strength - 0.3}, 2)
    monkeypatch.chdir(folder)
    setting = ("template", list(ATTACKS), EPSILON, list(strengths))
    sets = [read_evaluated(name, *setting) for name in ("shapes", "digits")]
    cost = COST if label.startswith("SAFT") else None
    return ComparedRun(label, sets, cost, ASKED, frozenset(), f"compare-{folder.name}")


def two_methods(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[ComparedRun]:
    """The second withstands less."""
    return [
        compared(folder / label, monkeypatch, label, strength)
        for label, strength in (("SAFT", 0.7), ("TeCoA", 0.5))
    ]

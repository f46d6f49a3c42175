"""The measures of the report: per attack, worst case, last iterate, and the paired counts."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.results import accuracy
from pipeline.results.evaluated import EvaluatedSet, read_evaluated
from tests.support.report_inputs import EPSILON, make_tree

SETTING = (["pgd", "apgd_ce"], EPSILON, ["base", "finetuned"])


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluatedSet:
    make_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    return read_evaluated("shapes", "template", *SETTING)


def flags(evaluated: EvaluatedSet, attack: int, model: str) -> np.ndarray:
    return np.array(evaluated.attacks[attack].predictions[model]["robust_any"].to_pylist())


def test_worst_case_needs_every_attack(shapes: EvaluatedSet) -> None:
    robust = accuracy.verdicts(shapes, "robust")
    for model in ("base", "finetuned"):
        both = flags(shapes, 0, model) & flags(shapes, 1, model)
        assert (robust[model] == both).all()
    numbers = accuracy.accuracies(shapes)["finetuned"]
    assert numbers["robust"] <= min(numbers["pgd"], numbers["apgd_ce"])
    assert numbers["robust"] == both.mean()


def test_worst_case_is_not_the_minimum_of_the_shares(shapes: EvaluatedSet) -> None:
    """Two attacks that fool different images leave less than each of them."""
    table = shapes.attacks[1].predictions["finetuned"]
    column = table.schema.get_field_index("robust_any")
    turned = ~flags(shapes, 0, "finetuned")
    shapes.attacks[1].predictions["finetuned"] = table.set_column(column, "robust_any", [turned])
    assert accuracy.accuracies(shapes)["finetuned"]["robust"] == 0


def test_rows_carry_titles_counts_and_the_paired_comparison(shapes: EvaluatedSet) -> None:
    rows = {row.key: row for row in accuracy.rows(shapes, "base")}
    assert list(rows) == ["clean", "robust", "pgd", "apgd_ce", "pgd_last", "apgd_ce_last"]
    assert rows["pgd_last"].label == "PGD, last iterate"
    base, tuned = flags(shapes, 0, "base"), flags(shapes, 0, "finetuned")
    assert rows["pgd"].changes["base"] is None, "the reference"
    assert rows["pgd"].changes["finetuned"].gained == (tuned & ~base).sum()
    assert rows["pgd"].changes["finetuned"].lost == (base & ~tuned).sum()
    assert rows["pgd"].shares["finetuned"].correct == tuned.sum()
    last = rows["pgd_last"]
    assert last.shares["base"].images == last.changes["finetuned"].images == 75
    turned = accuracy.rows(shapes, "finetuned")[2].changes
    assert turned["finetuned"] is None
    assert turned["base"].gained == rows["pgd"].changes["finetuned"].lost
    assert "pgd_last" not in accuracy.accuracies(shapes)["base"], "75 of 300 images only"


def test_means_count_every_set_the_same(shapes: EvaluatedSet) -> None:
    digits = read_evaluated("digits", "template", *SETTING)
    of_sets = [accuracy.accuracies(evaluated) for evaluated in (shapes, digits)]
    mean = accuracy.means(of_sets)["finetuned"]["robust"]
    assert mean == pytest.approx(sum(values["finetuned"]["robust"] for values in of_sets) / 2)

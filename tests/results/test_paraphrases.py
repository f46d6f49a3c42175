"""An image counts only if it is right under every text set."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.common.errors import UserError
from pipeline.results.evaluated import EvaluatedSet, read_evaluated
from pipeline.results.files import evaluation_folder
from pipeline.results.paraphrases import right_under_all, worst_case, worst_over_texts
from pipeline.results.statistics import wilson
from tests.support.report_inputs import ATTACKS, BASE_AND_TUNED, EPSILON, make_tree


def test_an_image_counts_only_if_right_under_every_text_set() -> None:
    first = np.array([True, True, False, False])
    second = np.array([True, False, True, False])
    assert right_under_all([first, second]).tolist() == [True, False, False, False]
    assert worst_case([first, second]) == wilson(1, 4)
    assert worst_case([first, second]).value < min(first.mean(), second.mean())


def test_one_text_set_is_its_own_worst_case_and_another_never_raises_it() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.random(50) < 0.8 for _ in range(4)]
    assert worst_case(sets[:1]) == wilson(int(sets[0].sum()), 50)
    shares = [worst_case(sets[: count + 1]).correct for count in range(4)]
    assert shares == sorted(shares, reverse=True)
    assert shares[3] == sum(all(flags) for flags in zip(*sets, strict=True))
    assert worst_case(sets[::-1]) == worst_case(sets)


def test_verdicts_of_other_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"of other images: \[3, 1\]"):
        right_under_all([np.ones(3, dtype=bool), np.ones(1, dtype=bool)])
    with pytest.raises(ValueError, match="of other images"):
        right_under_all([])


@pytest.fixture
def of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[EvaluatedSet]:
    """Digits under two text sets."""
    make_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    return [
        read_evaluated("digits", texts, list(ATTACKS), EPSILON, list(BASE_AND_TUNED))
        for texts in ("template", "unseen")
    ]


def robust_numbers(texts: str, model: str) -> set[int]:
    """The images that hold under both attacks, from the files."""
    held = []
    for attack in ATTACKS:
        folder = evaluation_folder("digits", texts, attack, EPSILON, model)
        rows = pq.read_table(folder / "predictions.parquet").to_pylist()
        held.append({row["number"] for row in rows if row["robust_any"]})
    return held[0] & held[1]


def test_an_image_must_hold_under_every_attack_and_every_text_set(
    of_texts: list[EvaluatedSet],
) -> None:
    shares = worst_over_texts(of_texts, "robust")
    for model in BASE_AND_TUNED:
        numbers = [robust_numbers(texts, model) for texts in ("template", "unseen")]
        assert shares[model].correct == len(numbers[0] & numbers[1])
        assert shares[model].images == 120
    assert 0 < shares["finetuned"].correct < len(robust_numbers("template", "finetuned"))
    assert worst_over_texts(of_texts[:1], "clean")["base"].correct == 114


def test_other_images_under_another_text_set_are_one_line(of_texts: list[EvaluatedSet]) -> None:
    others = read_evaluated("shapes", "unseen", list(ATTACKS), EPSILON, list(BASE_AND_TUNED))
    with pytest.raises(UserError, match="'digits': not the same images under text sets 'temp"):
        worst_over_texts([of_texts[0], others], "robust")

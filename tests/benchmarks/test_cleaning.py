"""The measure of cleaning: what it draws, and what it makes of a reader's labels."""

from collections import Counter

import pytest

from benchmarks.cleaning import Decision, decisions, draw
from benchmarks.cleaning_agreement import agreement
from pipeline.common.errors import UserError
from pipeline.common.tables import write_json


def of(source: str, count: int, reason: str | None = None) -> list[Decision]:
    return [Decision(source, "fox", f"{source} {n}", "", reason) for n in range(count)]


def test_decisions_are_those_of_every_source(tmp_path):
    write_json(tmp_path / "b" / "one.json", {"fox": ["What is a fox?", "A fox is red."]})
    write_json(tmp_path / "a" / "two.json", {"ox": ["And an ox is big."]})
    write_json(tmp_path / "a" / "two.provenance.json", {"model": "m"})
    assert [(d.source, d.class_key, d.text, d.reason) for d in decisions(tmp_path)] == [
        ("a", "ox", "An ox is big.", None),
        ("b", "fox", "What is a fox?", "question"),
        ("b", "fox", "A fox is red.", None),
    ]


def test_a_folder_without_descriptions_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no folder with JSON files"):
        list(decisions(tmp_path))
    write_json(tmp_path / "a" / "two.json", {"ox": "big"})
    with pytest.raises(UserError, match="ox: expected a list of sentences"):
        list(decisions(tmp_path))


def test_a_small_source_is_drawn_whole_and_others_fill_the_number():
    drawn = draw([*of("a", 100), *of("b", 3), *of("c", 100)], 33, seed=0)
    assert Counter(d.source for d in drawn) == {"b": 3, "a": 15, "c": 15}
    assert len(set(drawn)) == 33
    assert drawn == draw([*of("a", 100), *of("b", 3), *of("c", 100)], 33, seed=0)


def test_precision_and_recall_stand_for_all_sentences_of_a_source():
    rows = [
        {"source": "a", "reason": reason, "right": right}
        for reason, right, count in (
            ("meta", True, 9), ("meta", False, 1), (None, True, 9), (None, False, 1),
        )
        for _ in range(count)
    ]  # fmt: skip
    result = agreement(rows, Counter({("a", True): 100, ("a", False): 900}))
    assert result["precision"]["share"] == pytest.approx(0.9)
    assert result["recall"]["share"] == pytest.approx(90 / (90 + 90))
    assert result["recall"]["low"] < 0.5 < result["recall"]["high"]
    assert result["cells"]["a, dropped"]["share"]["low"] == pytest.approx(0.596, abs=1e-3)

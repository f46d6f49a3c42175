"""Every reason of cleaning, on ten texts of our own or more, and on texts that only seem bad."""

import json
from pathlib import Path

import pytest

from pipeline.filtering.cleaning import REASONS, CleaningParams, clean

CASES = json.loads((Path(__file__).parent / "sentences.json").read_text(encoding="utf-8"))
RULES = {"min_words": 3, "near_duplicate": 1.0, "too_long": "shorten"}
CHOICES = {"several_sentences": "drop", "needs_name": "drop"}


def cleaned(text: str, name: str = "", **choices: str):
    params = CleaningParams.model_validate(
        {**RULES, "several_sentences": "keep", "needs_name": "keep"} | choices
    )
    [result] = clean([text], params, 77, lambda texts: [5] * len(texts), class_name=name)
    return result


@pytest.mark.parametrize(
    ("reason", "text"),
    [(reason, text) for reason, texts in CASES["dropped"].items() for text in texts],
)
def test_a_text_is_dropped_with_its_reason(reason, text):
    choices = {reason: "drop"} if reason in CHOICES else {}
    assert cleaned(text, name="red fox", **choices).reason == reason


@pytest.mark.parametrize("text", CASES["kept"])
def test_a_description_is_kept_word_for_word(text):
    result = cleaned(text, name="red fox")
    assert (result.reason, result.text) == (None, text)


@pytest.mark.parametrize(("raw", "text"), CASES["cut"])
def test_what_surrounds_a_sentence_is_cut(raw, text):
    result = cleaned(raw)
    assert (result.reason, result.text) == (None, text)


def test_every_kind_has_ten_examples():
    alone = set(REASONS) - {"empty", "meta", "fragment", "too_long", "duplicate", "near_duplicate"}
    assert set(CASES["dropped"]) == alone, "the others are in test_cleaning.py"
    for texts in (*CASES["dropped"].values(), CASES["kept"], CASES["cut"]):
        assert len({str(text) for text in texts}) >= 10


def test_a_choice_that_keeps_drops_nothing():
    for reason in CHOICES:
        for text in CASES["dropped"][reason]:
            assert cleaned(text, name="red fox").reason is None


def test_a_class_may_be_called_in_another_script():
    text = "The letter Ж has six arms."
    assert cleaned(text, name="letter Ж").reason is None
    assert cleaned(text, name="letter zhe").reason == "language"

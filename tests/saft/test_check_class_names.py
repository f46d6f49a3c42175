"""Names that mean several things, which `saft check` lists where a language model is asked."""

from pathlib import Path

import pytest

from pipeline.images.classes import ClassEntry
from pipeline.prepare.wnids import all_wnids, class_entries
from saft.check.class_names import ambiguous, remark

MONARCH = ClassEntry("n02279972", "monarch")
TENCH = ClassEntry("n01440764", "tench")


@pytest.mark.parametrize(
    ("class_id", "name", "expected"),
    [
        ("n02279972", "monarch", True),  # also a king
        ("n02814860", "beacon", True),  # OpenAI: lighthouse
        ("n03854065", "organ", True),
        ("n02231487", "walking stick", True),
        ("n02279972", "monarch butterfly", False),  # as OpenAI has it
        ("n01440764", "tench", False),
        ("n02782093", "balloon", False),
        ("n03461385", "grocery store", False),
        ("n02841315", "binoculars", False),
        ("c7", "crane", True),
        ("c7", "green heart", False),
        ("c7", "", False),
    ],
)
def test_the_rule(class_id, name, expected):
    assert (ambiguous([ClassEntry(class_id, name)]) != []) is expected


def test_openais_names_are_not_listed_and_wordnets_are_by_the_dozen():
    where = Path("wnids")
    assert remark(class_entries(all_wnids(), "openai", where), "known") is None
    wordnet = ambiguous(class_entries(all_wnids(), "wordnet", where))
    assert 50 < len(wordnet) < 200
    assert {"monarch", "beacon", "brass", "alp", "reel", "chest"} <= {e.name for e in wordnet}


def test_the_remark_counts_names_glosses_and_says_what_openai_calls_them():
    classes = [MONARCH, TENCH, ClassEntry("c7", "crane")]
    assert remark(classes, "known") == (
        "2 of 3 class names mean several things: monarch, crane; 1 of them have a gloss in the "
        "questions (describe.gloss: known, or a column gloss in classes.tsv); `names: openai` says "
        "monarch butterfly"
    )
    assert "; 0 of them have a gloss" in str(remark(classes, "none"))
    explained = [ClassEntry("c7", "crane", "a machine that lifts")]
    assert str(remark(explained, "known")).endswith("1 of them have a gloss in the questions")
    assert remark([TENCH], "known") is None

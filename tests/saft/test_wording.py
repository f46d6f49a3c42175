"""How the sentences of an artifact are worded, and what the page says of it."""

from saft.descriptions import text as datasheet_text
from saft.descriptions.wording import wording
from tests.support.artifact_rows import class_rows, figures

ROWS = class_rows(
    n1=["A crane has long legs.", "It is grey.", "Cranes are found in wet meadows.", "It is grey."],
    n2=["It is used to lift loads.", "The crane lifts loads. It has a yellow arm."],
)


def test_sentences_are_counted_by_how_they_are_worded():
    topics = {"use": 1, "taste": 0, "habitat": 1, "history": 0, "temperament": 0}
    assert wording(ROWS) == {
        "without_name": 3,
        "pronoun": 3,
        "non_visual": {"sentences": 2} | topics,
        "several_sentences": 1,
    }


def test_a_word_on_looks_makes_a_sentence_visual():
    rows = class_rows(n1=["A crane of yellow steel is used to lift loads.", "Cranes are native."])
    assert wording(rows)["non_visual"]["sentences"] == 1


def test_the_page_has_a_line_for_each_count():
    lines = datasheet_text.lines(figures(ROWS))
    page = " ".join(" ".join(lines).split())
    assert "Wording no name 3 do not name the class; 3 have a pronoun for it" in page
    assert "not visual 2 (use 1, taste 0, habitat 1, history 0, temperament 0)" in page
    assert "several in one 1 hold more than one sentence" in page
    assert "repeats 1 say what an earlier one of the class does" in page

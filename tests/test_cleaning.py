"""Every rule of cleaning, on the sentences that language models really write."""

import pytest

from pipeline.cleaning import REASONS, CleaningParams, clean, normalise
from pipeline.clip_tokens import count_tokens

RULES = {"min_words": 3, "near_duplicate": 0.95, "too_long": "shorten"}


def words(texts):
    """A tokenizer of one token per word, with start and end."""
    return [len(text.split()) + 2 for text in texts]


def cleaned(*texts, context=77, **changes):
    return clean(texts, CleaningParams(**(RULES | changes)), context, words)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  A  tench\u00a0is\n green. ", "A tench is green."),
        ("A\u200b tench\u0007 is\ufeff green.", "A tench is green."),
        ("A ﬁsh with “ﬁne” scales — it’s green…", 'A fish with "fine" scales - it\'s green...'),
        ("1. A tench is green.", "A tench is green."),
        ("12) A tench is green.", "A tench is green."),
        ("(3) A tench is green.", "A tench is green."),
        ("[2] A tench is green.", "A tench is green."),
        ("- A tench is green.", "A tench is green."),
        ("• A tench is green.", "A tench is green."),
        ("* **Colour:** a tench is green.", "Colour: a tench is green."),
        ("### A `tench` is _really_ green.", "A tench is _really_ green."),
        ("A __tench__ is *very* ~~red~~ green.", "A tench is very red green."),
        ('"A tench is green."', "A tench is green."),
        ('1. "**A tench** is green."', "A tench is green."),
        ("A [tench](https://example.invalid) is <b>green</b>.", "A tench is green ."),
        ("> a. A tench is green.", "A tench is green."),
        # nothing to strip
        ("3.5 metres long, a shark is big.", "3.5 metres long, a shark is big."),
        ("2-toed sloths hang from trees.", "2-toed sloths hang from trees."),
        ("A 5-pointed star * in blue.", "A 5-pointed star * in blue."),
        ("The dog's ears aren't 'small'.", "The dog's ears aren't 'small'."),
        ("A. japonica has red leaves.", "A. japonica has red leaves."),
        ('The sign says "stop" and "go"', 'The sign says "stop" and "go"'),
    ],
)
def test_texts_become_one_plain_line(raw, expected):
    assert normalise(raw) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  - ", "empty"),
        ("***", "empty"),
        ("1.", "empty"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I’m sorry, but I cannot describe this person.", "refusal"),
        ("I cannot describe what is not there.", "refusal"),
        ("As an AI language model, I have no eyes.", "refusal"),
        ("As a language model I cannot see images.", "refusal"),
        ("Unfortunately, I have no information about it.", "refusal"),
        ("Sure, here are five sentences about a tench:", "meta"),
        ("Sure! A list follows below.", "meta"),
        ("Here are 5 descriptions of a tench.", "meta"),
        ("Here is a JSON list of exactly 5 strings:", "meta"),
        ("Certainly! Here you go, five of them", "meta"),
        ("I hope this helps with your task.", "meta"),
        ("Let me know if you need more sentences.", "meta"),
        ("The tench can be described as follows:", "meta"),
        ("Descriptions: see the list.", "meta"),
        ("A tench.", "fragment"),
        ("Green", "fragment"),
    ],
)
def test_what_is_no_description_is_dropped_with_its_reason(text, reason):
    assert [c.reason for c in cleaned(text)] == [reason]
    assert reason in REASONS


@pytest.mark.parametrize(
    "text",
    [
        "Here a dog lies on a sofa.",
        "A sure-footed goat stands on a rock.",
        "An ice cream cone: two scoops on a wafer.",
        "Great white sharks have a white belly.",
        "Great, curved horns crown the ibex.",
        "Certain owls have ear tufts.",
        "Noted for its long tail, a magpie is black and white.",
        "Assistants in white coats stand around the table.",
        "I can see a tench with green scales.",
        "Answering machines have a small speaker.",
    ],
)
def test_descriptions_are_left_alone(text):
    [found] = cleaned(text)
    assert (found.text, found.reason, found.shortened) == (text, None, False)


def test_repeats_are_dropped_the_first_stays():
    found = cleaned(
        "A tench is green and slimy.",
        "a TENCH is green, and slimy",
        "A tench is green and slimey.",
        "A tench has small scales.",
        "I cannot say what it is.",
        "I cannot say what it is.",
    )
    assert [c.reason for c in found] == [
        None, "duplicate", "near_duplicate", None, "refusal", "refusal",
    ]  # fmt: skip
    alike = cleaned("A green square on a table", "A green square on a cable", near_duplicate=1.0)
    assert [c.reason for c in alike] == [None, None]


def test_a_sentence_clip_would_cut_ends_with_a_clause_or_is_dropped():
    text = "A tench is green, it has small scales; it lives in ponds, and it is slow to move."
    [found] = cleaned(text, context=12)
    assert (found.text, found.shortened, found.reason) == (
        "A tench is green, it has small scales.", True, None,
    )  # fmt: skip
    assert found.tokens == 10
    [short] = cleaned(text, context=5)
    assert (short.reason, short.text) == ("too_long", text)
    [dropped] = cleaned(text, context=12, too_long="drop")
    assert (dropped.reason, dropped.shortened) == ("too_long", False)
    [tail] = cleaned("Green, " + "very " * 20 + "green", context=10)
    assert tail.reason == "too_long", "one word before the comma is a fragment"
    [whole] = cleaned(text, context=20)
    assert (whole.reason, whole.shortened) == (None, False)


def test_a_shortened_sentence_can_be_a_repeat():
    found = cleaned("A tench is green.", "A tench is green, " + "very " * 20, context=10)
    assert [c.reason for c in found] == [None, "duplicate"]


def test_tokens_are_those_of_clip():
    assert count_tokens(["a photo of a tench"]) == [8]
    [long] = count_tokens(["word " * 100])
    assert long == 102, "counted before the cut at 77"

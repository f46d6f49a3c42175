"""Every rule of cleaning, on the sentences that language models really write."""

import time

import pytest

from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.cleaning import REASONS, CleaningParams, clean

RULES = {
    "min_words": 3,
    "near_duplicate": 0.95,
    "too_long": "shorten",
    "several_sentences": "keep",
    "needs_name": "keep",
}


def words(texts):
    """A tokenizer of one token per word, with start and end."""
    return [len(text.split()) + 2 for text in texts]


def cleaned(*texts, context=77, **changes):
    return clean(texts, CleaningParams(**(RULES | changes)), context, words)


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
        ("I am not sure what you mean by it.", "refusal"),
        ("I'm not sure how a tench looks.", "refusal"),
        ("I don't know what a tench is.", "refusal"),
        ("I do not have eyes to see it.", "refusal"),
        ("I won't be able to describe a tench.", "refusal"),
        ("I can't see any tench in it.", "refusal"),
        ("I'm just an AI and have no eyes.", "refusal"),
        ("I am a helpful assistant without eyes.", "refusal"),
        ("Unfortunately I am unable to see it.", "refusal"),
        ("There is no definitive answer to this question, as tench vary.", "refusal"),
        ("There is no one right answer for every tench.", "refusal"),
        ("There is not a single answer to that question.", "refusal"),
        ("There are many tench, so it is hard to give one answer to this question.", "refusal"),
        ("Tench vary, so it is difficult to give an exact answer.", "refusal"),
        ("This is a difficult question.", "refusal"),
        ("Question is too vague, for tench vary.", "refusal"),
        ("It seems there was a misunderstanding as it shows no tench.", "refusal"),
        ("Please provide more context.", "refusal"),
        ("Please provide a photo of the tench.", "refusal"),
        ("Could you tell me more about it", "refusal"),
        ("What do you mean by a tench?", "refusal"),
        ("Sure, here are five sentences about a tench:", "meta"),
        ("Sure! A list follows below.", "meta"),
        ("Here are 5 descriptions of a tench.", "meta"),
        ("Here is a JSON list of exactly 5 strings:", "meta"),
        ("Certainly! Here you go, five of them", "meta"),
        ("I hope this helps with your task.", "meta"),
        ("Let me know if you need more sentences.", "meta"),
        ("The tench can be described as follows:", "meta"),
        ("Descriptions:", "meta"),
        ("Sure thing! Here are some of them.", "meta"),
        ("Here's a list of five descriptions", "meta"),
        ("The following sentences are about a tench.", "meta"),
        ("The following are the features of a tench:-1.", "meta"),
        ("The features of a tench are:1.", "meta"),
        ("Below are five short descriptions of it", "meta"),
        ("Note that these descriptions are general.", "meta"),
        ("These sentences tell of a tench's fins.", "meta"),
        ("The descriptions above tell of a tench.", "meta"),
        ("I have provided an image of a tench.", "meta"),
        ("Which tench are you talking about?.", "meta"),
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
        "As an aircraft lands, its wheels are out.",
        "As an assistant hands over the scalpel, the surgeon bends down.",
        "I won't mistake it: its fins are red.",
        "I cannot think of a tench without its red eyes.",
        "I can't help but see its red fins.",
        "I do not have to look twice to see its barbels.",
        "The question mark on the sign is white.",
        "There is no handle on the lid.",
        "A misunderstood animal, the hyena has a mane.",
        "The following are marks of a hen: female, warm-blooded and feathered.",
        "Here are some marks of a hen: feathers and two legs.",
        "Here is a tench, dark green, in a pond.",
        "Below is a pale yellow belly.",
        "Below are two short fins: red ones.",
        "Note that these barbels are short.",
        "Note the list of names on the stone.",
        "These petals are white.",
        "The clock on the tower shows 10:30.",
        "The drink is mixed 1:3",
        "e. coli looks like short rods.",
        "-5 degrees is what the sign says.",
    ],
)
def test_descriptions_are_left_alone(text):
    [result] = cleaned(text)
    assert (result.text, result.reason, result.shortened) == (text, None, False)


def test_repeats_are_dropped_the_first_stays():
    result = cleaned(
        "A tench is green and slimy.",
        "a TENCH is green, and slimy",
        "A tench is green and slimey.",
        "A tench has small scales.",
        "I cannot say what it is.",
        "I cannot say what it is.",
    )
    assert [c.reason for c in result] == [
        None, "duplicate", "near_duplicate", None, "refusal", "refusal",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("A crab has ten legs and a shell", "A crab has two legs and a shell", False),
        ("It is a harp on a white wall", "It is a blue harp on a white wall", False),
        ("It is a blue harp on a white wall", "It is a harp on a white wall", False),
        ("It has a row of plates on its back", "It has two rows of plates on its back", False),
        ("It has a large tail and short fins", "It has a small tail and short fins", False),
        ("It is a table with a drawer", "It is a table without a drawer", False),
        ("Its tail is not black and thin", "Its tail is black and thin", False),
        ("It has painted doors and low walls", "It has unpainted doors and low walls", False),
        ("It has about 1000 seats in rows", "It has about 10000 seats in rows", False),
        ("A goat has a horn on its head", "A goat has horns on its head", True),
        ("A tench is of a green colour", "A tench is of a green color", True),
        ("It is a bird that has a red head", "It is a bird which has a red head", True),
        ("It is often red at the tip", "It is typically red at the tip", True),
        ("The bird has a black-and-white tail", "The bird has a black and white tail", True),
    ],
)
def test_near_duplicates_differ_in_no_word_of_weight(one, other, alike):
    result = cleaned(one, other, near_duplicate=0.7)
    assert [c.reason for c in result] == [None, "near_duplicate" if alike else None]
    assert [c.reason for c in cleaned(one, other, near_duplicate=1.0)] == [None, None]


def test_near_duplicates_are_as_alike_as_asked_or_more():
    pair = ("0123 tench fish", "0123 tench fishy")  # 30 of 31 letters are in common
    for threshold, reason in [(30 / 31, "near_duplicate"), (30.01 / 31, None)]:
        assert [c.reason for c in cleaned(*pair, near_duplicate=threshold)] == [None, reason]


def test_a_sentence_clip_would_cut_ends_early_or_is_dropped():
    text = "A tench is green, it has small scales; it lives in ponds, and it is slow to move."
    [result] = cleaned(text, context=12)
    assert (result.text, result.shortened, result.reason) == (
        "A tench is green, it has small scales.", True, None,
    )  # fmt: skip
    assert result.tokens == 10
    [exact] = cleaned(text, context=10)
    assert (exact.text, exact.tokens) == (result.text, 10), "exactly as many as are read"
    [short] = cleaned(text, context=9)
    assert (short.reason, short.text, short.tokens) == ("too_long", text, 20)
    [dropped] = cleaned(text, context=12, too_long="drop")
    assert (dropped.reason, dropped.shortened) == ("too_long", False)
    [unshortened] = cleaned(text, context=20)
    assert (unshortened.reason, unshortened.shortened) == (None, False)
    assert cleaned(text, context=19)[0].shortened


@pytest.mark.parametrize(
    ("context", "kept"),
    [
        (17, "It is green, which hides it; it has fins, with red tips. It is small."),
        (14, "It is green, which hides it; it has fins, with red tips."),
        (13, "It is green, which hides it; it has fins."),
        (8, "It is green, which hides it."),
        (5, "It is green."),
    ],
)
def test_the_longest_beginning_that_fits_is_taken(context, kept):
    text = "It is green, which hides it; it has fins, with red tips. It is small, often with age."
    assert cleaned(text, context=context)[0].text == kept


@pytest.mark.parametrize(
    "text",
    [
        "Green; " + "very " * 20 + "green",  # a fragment
        "A tench has these:1. It is " + "very " * 20 + "green",  # talk
        "Unlike the eagle, the sparrow is " + "very " * 20 + "small",
        "It has a long, slender hull of " + "very " * 20 + "old wood",
        "A bird e.g. The Great Tit is " + "very " * 20 + "small",
    ],
)
def test_what_is_no_description_is_not_what_is_left_of_a_long_one(text):
    [result] = cleaned(text, context=9)
    assert (result.reason, result.text) == ("too_long", text.strip())


def test_a_question_is_not_what_is_left_of_a_long_text_but_its_answer_is():
    [result] = cleaned("What is a tench? " + "A tench is very very green. " * 3, context=9)
    assert (result.reason, result.text) == (None, "A tench is very very green.")
    [unanswered] = cleaned("A tench is " + "very " * 20 + "green. What is a tench?", context=9)
    assert unanswered.reason == "question"
    [unfit] = cleaned("What is a tench? A tench is " + "very " * 20 + "green.", context=9)
    assert (unfit.reason, "?" in unfit.text) == ("too_long", False)


def test_a_shortened_sentence_can_be_a_repeat():
    result = cleaned("A tench is green.", "A tench is green; " + "very " * 20, context=10)
    assert [c.reason for c in result] == [None, "duplicate"]


def test_a_text_without_end_is_no_trap():
    start = time.perf_counter()
    for text in ("`a" * 10_000, "Aa. " * 5_000, "1. " * 6_666, "a, " * 6_000, "which " * 4_000):
        [result] = cleaned(text)
        assert result.reason is not None or result.tokens <= 77
    assert time.perf_counter() - start < 20


def test_two_hundred_words_are_shortened_or_dropped_and_no_kept_one_is_cut_by_clip():
    clauses = "; ".join(f"it has mark {n} on it" for n in range(40))
    with_clauses = f"A tench is green and slimy; {clauses}."
    without = "A tench has " + " and ".join(f"mark{n}" for n in range(100)) + "."
    texts = ["A tench is slow.", with_clauses, without]
    assert [len(text.split()) >= 150 for text in texts] == [False, True, True]
    assert all(tokens > 77 for tokens in count_tokens(texts[1:]))
    for too_long in ("shorten", "drop"):
        result = clean(texts, CleaningParams(**(RULES | {"too_long": too_long})), 77, count_tokens)
        reasons = [None, None if too_long == "shorten" else "too_long", "too_long"]
        assert [cleaned.reason for cleaned in result] == reasons
        kept = [cleaned.text for cleaned in result if cleaned.reason is None]
        assert max(count_tokens(kept)) <= 77
        assert [cleaned.shortened for cleaned in result][1] == (too_long == "shorten")


def test_tokens_are_those_of_clip():
    assert count_tokens(["a photo of a tench"]) == [8]
    [long] = count_tokens(["word " * 100])
    assert long == 102, "counted before the cut at 77"

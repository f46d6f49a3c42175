"""An answer's text becomes sentences: every kind of answer that models give (answers.yaml), and
what holds for all of them."""

import json
import random
import re
from itertools import cycle
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.answer_sentences import LONGEST, sentences_in
from pipeline.descriptions.messages import parse_answer, parse_reply
from pipeline.descriptions.sentence_ends import split

CASES = YAML(typ="safe").load(Path(__file__).with_name("answers.yaml").read_text("utf-8"))
# sentences that a careless rule would cut, join or drop
PAIRS = [
    ("A tench has olive-green skin.", "Its fins are round and dark."),
    ("The heron is about 1.2 metres tall.", "It has an S-shaped neck."),
    ("A kettle holds approx. 1.5 litres of water.", "The spout is short and curved."),
    ("The owl's face is a pale disc.", "Its eyes look straight ahead."),
    ("An FM radio has a dial, e.g. a round one.", "The aerial folds out of the top."),
    ("A school bus of the U.S. Army is green.", "The wheels are black and wide."),
    ("Mr. Lincoln's hat is a tall black cylinder.", "The brim is narrow and flat."),
    ("Look at the beak, which is bright orange!", "The legs are orange as well."),
    ("The class {x} has two [x] marks in it.", "Its border is thin, dark and even."),
    ("Die Eule hat große, gelbe Augen.", "Das Gefieder ist braun und weiß."),
]
EXAMPLES = [
    (group, kind, text, *pair)
    for group, kinds in CASES.items()
    for kind, texts in kinds.items()
    for text, pair in zip(texts, cycle(PAIRS), strict=False)
]


def test_every_kind_has_ten_examples():
    counts = {kind: len(texts) for kinds in CASES.values() for kind, texts in kinds.items()}
    assert min(counts.values()) >= 10
    assert len(counts) == 24


@pytest.mark.parametrize(
    ("group", "kind", "text", "first", "second"),
    EXAMPLES,
    ids=[f"{kind}-{number % 10}" for number, (_, kind, *_) in enumerate(EXAMPLES)],
)
def test_an_answer_of_every_kind(group, kind, text, first, second):
    expected = [first, second] if group == "read" else []
    assert parse_answer(text.replace("@1", first).replace("@2", second)) == expected


def filled(number: int) -> str:
    _, _, text, first, second = EXAMPLES[number]
    return text.replace("@1", first).replace("@2", second)


TEXTS = [filled(number) for number in range(len(EXAMPLES))]
DRAFTS = [text for text in TEXTS if "<|channel|>" not in text]  # no channel stands in another
BEFORE = [
    "<think>{}</think>", "<Reasoning step='1'>{}</reasoning>\n", "[THINK]{}[/THINK]",
    "◁think▷{}◁/think▷", "{}</think>", "<thought>{}</thought><reflection>{}</reflection>",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
]  # fmt: skip


def drafts(generator: random.Random) -> list[str]:
    """Answers of other kinds, broken ones too, and brackets and quotes in any order."""
    pieces = ["{", "}", "[", "]", '"', "'", ",", ":", "sentences", "A fox.", "\n- a b c.", "```"]
    noise = ["".join(generator.choices(pieces, k=generator.randrange(20))) for _ in range(3)]
    return [*generator.sample(DRAFTS, 5), *noise]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_reasoning_before_an_answer_changes_nothing(number):
    text = TEXTS[number]
    for before in BEFORE:
        for draft in drafts(random.Random(number)):
            assert parse_answer(before.replace("{}", draft) + text) == parse_answer(text), draft


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_what_is_cut_off_never_gives_half_a_sentence(number):
    """Also not where a server says that the answer is complete, unless it is a list in lines."""
    _, _, _, first, second = EXAMPLES[number]
    text = TEXTS[number]
    in_lines = re.search(r"^\s*(?:[-*•–+]|\(?\d[.:)]|Sentence \d:) ", text, re.MULTILINE)
    for end in range(len(text)):
        sentences = parse_reply(Reply(text[:end], False, 0, 0))
        if not in_lines:
            sentences += parse_answer(text[:end])
        for sentence in set(sentences) - {first, second}:
            assert any(f"{sentence}{quote}" in text for quote in "\"'”’")


def test_the_finished_sentences_of_a_cut_answer_are_kept():
    def cut(text: str) -> list[str]:
        return parse_reply(Reply(text, False, 0, 0))

    whole = ["A fox is red.", "It has a tail."]
    assert cut('{"sentences": ["A fox is red.", "It has a tail.", "Its ea') == whole
    assert cut('```json\n["A fox is red.", "It has a tail.",') == whole
    assert cut('[{"text": "A fox is red."}, {"text": "It has a tail."}, {"te') == whole
    assert cut('<think>a draft</think>{"sentences": ["A fox is red.", "It') == whole[:1]
    # the thought may have begun in the question: this could be a draft
    assert cut('I try {"sentences": ["A fox is red."]}, then {"sentences": ["A fox.", "It') == []
    assert cut('<think>{"sentences": ["A fox is red.", "It has') == []
    assert cut("1. A fox is red.\n2. It has a tail.\n3. Its ea") == []


def test_a_string_that_was_cut_at_its_longest_loses_its_last_sentence():
    whole, runaway = "A fox has a red tail.", "It " + "goes on and on " * 30
    assert sentences_in(f"{whole} {runaway}"[:LONGEST]) == [whole]
    assert sentences_in(runaway[:LONGEST]) == []
    long = f"It has {'very ' * 80}long legs."
    assert sentences_in(long) == [long]


@pytest.mark.parametrize(
    "text",
    [
        "It is approx. 3 cm long.", "It eats insects, e.g. ants.", "The U.S. Army has one.",
        "Mr. Smith has a hat.", "Dr. No wears gloves.", "It is 1.2 m long.", "See Fig. 2 for it.",
        "The E. coli cell is a rod.", "J. R. R. Tolkien wrote it.", "It looks old ... It is not.",
        "What is red? It is a fox.", "No. 5 is a bottle.", "It has points: 1. A red tail.",
        "Acme Inc. Boats are red ones.", "St. Bernard dogs are large.", "It is red vs. White ones.",
        "Wow. It is a fox.", "It is a fox. Wow.", "It is red, i.e. Red like wine.",
        "The point (see p. 4) is red.", "Ford Motor Co. Trucks are large.", "etc. and so on.",
    ],
)  # fmt: skip
def test_one_sentence_stays_one(text):
    assert split(text) == [text]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("It is red.", "It is small."), ("Look at it!", "It is small."),
        ("It has fins, a tail, etc.", "The fins are red."), ("It is 5 m long.", "It is grey."),
        ("It was built in 1990.", "The roof is flat."), ("It is made in the U.S.", "It is red."),
        ('They call it "brush."', "It is red."), ("It looks like a fig.", "The skin is dark."),
        ("It is about 5.", "The legs are short."), ("A fox (a red one.)", "It is small."),
        ("It is red.", '"Brush" is its tail.'), ("It has wheels.", "4 of them are black."),
        ("It is sold by Acme Inc.", "The box is blue."),
        ("Die Eule ist groß.", "Ihr Fell ist rot."),
    ],
)  # fmt: skip
def test_two_sentences_are_split(first, second):
    assert split(f"{first} {second}") == [first, second]
    assert split(f"{first} {second} {first} {second}")[:2] == [first, second]


def test_scripts_without_capitals_are_split():
    assert split("狐狸有红色的尾巴。它的耳朵是黑色的。") == [
        "狐狸有红色的尾巴。",
        "它的耳朵是黑色的。",
    ]


def test_a_long_answer_is_read_in_no_time_and_never_a_traceback():
    for text in ("[" * 100_000, '["' * 50_000, '{"a":' * 20_000, "<think></think>" * 6000):
        assert parse_answer(text) == []
    many = json.dumps({"sentences": ["A fox {is} [red]."] * 5000})
    assert len(parse_answer(f"[{many}] and [so on]")) == 5000

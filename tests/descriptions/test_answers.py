"""An answer's text becomes sentences: every kind of answer that models give (answers.yaml), and
what holds for all of them."""

import json
import random
from itertools import cycle
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.answer_sentences import LONGEST, sentences_in, split
from pipeline.descriptions.messages import parse_answer, parse_reply

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

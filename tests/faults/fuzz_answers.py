"""Fuzz the reading of answers: `python -m tests.faults.fuzz_answers --seconds 300`.

Whatever a model answers, it is read as a list of sentences that a table can hold, in a time that
grows no faster than the answer; what was cut off never gives more than what was not.
"""

import json
import random
from typing import Any

import typer
from ruamel.yaml import YAML

from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.messages import parse_answer, parse_reply
from tests.faults.fuzzing import command
from tests.support.project import ROOT

# what the answers of models are made of, apart from words
PIECES = (
    "<think>", "</think>", "```json\n", "```", '{"sentences": [', '"', "\\", "\\u", "]}", "[", "]",
    "{", "}", "1. ", "- ", "* ", "\n", "\n\n", ". ", "! ", ", ", ": ", "<|im_end|>", "\ud800",
    "“", "”", "Sentence 1: ", "e.g. ", "U.S. ", "I cannot ", "\0", "\u2028", "。",
)  # fmt: skip


def seeds() -> list[bytes]:
    """The answers of tests/descriptions/answers.yaml, and strings of pieces."""
    texts = list(
        _texts(YAML(typ="safe").load((ROOT / "tests/descriptions/answers.yaml").read_text()))
    )
    rng = random.Random(0)
    texts += ["".join(rng.choices(PIECES, k=40)) for _ in range(100)]
    texts += [piece * 2000 for piece in PIECES]
    texts += [json.dumps({"sentences": ["A fox is red.", "It has four legs."]})]
    return [text.encode("utf-8", "surrogatepass") for text in texts if text]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in inner for text in _texts(part)]


def attempt(data: bytes) -> str:
    """What is wrong with how an answer is read; "" if nothing is."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    for sentences in (parse_answer(text), parse_reply(Reply(text, False, 0, 0))):
        if not isinstance(sentences, list) or not all(isinstance(s, str) for s in sentences):
            return f"no list of sentences: {sentences!r}"
        try:
            "".join(sentences).encode()
        except UnicodeEncodeError:
            return "half a character in a sentence"
        if sum(map(len, sentences)) > 4 * len(text) + 100:
            return "sentences that are longer than the answer"
        if any(not sentence.strip() or "\n" in sentence for sentence in sentences):
            return f"a sentence that is empty or of several lines: {sentences!r:.200}"
    return ""


if __name__ == "__main__":
    typer.run(command(seeds, attempt))

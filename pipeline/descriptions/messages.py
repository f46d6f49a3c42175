"""A question to a model as a chat message, and its answer as a list of sentences."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.descriptions.answer_choice import finished_sentences, last_answer
from pipeline.descriptions.answer_json import BrokenError
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.answer_reasoning import outside_reasoning
from pipeline.descriptions.answer_sentences import LONGEST
from pipeline.descriptions.answer_tokens import first_turn, messages_to_user
from pipeline.descriptions.refusals import is_refusal

SHORTEST = 8  # characters of a string that the schema lets pass: no blanks, no lone brackets


@dataclass(frozen=True, eq=False)
class Query:
    """One answer to get. `text` and `images` (PNG files) make the message; `image` is the number
    of the one that it is about, None: it is about the class."""

    class_id: str
    prompt_id: str
    answer: int
    attempt: int
    seed: int
    text: str
    images: Sequence[bytes]
    image: int | None = None


def message_content(query: Query) -> Any:
    """The query as the content of an OpenAI-style chat message, its images first."""
    if not query.images:
        return query.text
    urls = [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in query.images]
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [*pictures, {"type": "text", "text": query.text}]


def parse_reply(reply: Reply) -> list[str]:
    """The sentences of a reply; of one that was cut off those that were finished, and none if
    it holds anything but JSON: what looks complete there may be a draft."""
    return parse_answer(reply.text) if reply.complete else _finished(reply.text)


def parse_answer(text: str) -> list[str]:
    """The sentences of an answer: of the last readable one outside any reasoning; none without.

    Steps: messages to the user without template tokens (answer_tokens), stretches outside
    reasoning (answer_reasoning), JSON values or lists in lines (answer_json, answer_lists), one
    of them (answer_choice), its usable sentences (answer_sentences). An answer whose every
    sentence declines to answer, or that holds lone surrogates, counts as unreadable.

    '<think>["a draft"]</think> Here: {"sentences": ["A fox is red.",]}' gives ["A fox is red."].
    """
    try:
        answers = map(last_answer, reversed(_stretches(text)))
        sentences = next((answer for answer in answers if answer), [])
    except BrokenError:
        return []
    return [] if all(map(is_refusal, sentences)) else sentences


def _finished(text: str) -> list[str]:
    stretches = _stretches(text)
    return finished_sentences(stretches[-1]) if stretches else []


def _stretches(text: str) -> list[str]:
    """What a model says to the user: no template tokens, no reasoning."""
    messages = messages_to_user(text)
    return [first_turn(part) for message in messages for part in outside_reasoning(message)]


def answer_schema(sentences: int, bounded: bool) -> dict[str, Any]:
    """JSON schema of an answer; the root is an object because some servers insist on it.

    Args:
        bounded: limit the length of each string, so that none is empty and none runs away: a
            string that is cut at LONGEST costs a sentence, not the answer. No `pattern`: xgrammar
            0.2.8 ignores the limits beside one (its issue 895), and one with the limits inside
            ("^[^{}]{8,300}$") stops its compiler. Not every server takes the limits. xgrammar
            lets no quotation mark into a string with limits.
    """
    limits = {"minLength": SHORTEST, "maxLength": LONGEST} if bounded else {}
    items = {"type": "array", "items": {"type": "string"} | limits}
    return {
        "type": "object",
        "properties": {"sentences": items | {"minItems": sentences, "maxItems": sentences}},
        "required": ["sentences"],
        "additionalProperties": False,
    }


def request_seed(
    class_id: str, prompt_id: str, answer: int, attempt: int, seed: int, image: int | None = None
) -> int:
    """A seed below 2**31 that depends on the question, and on the image that it is about if it is
    about one, not on its position in a batch; it must never change."""
    about = [] if image is None else [image]
    key = json.dumps([seed, class_id, prompt_id, answer, attempt, *about])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 2**31

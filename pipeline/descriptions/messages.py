"""A question to a model as a chat message, and its answer as a list of sentences."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.artifact import LONE_SURROGATE

_THOUGHTS = re.compile(r".*</think(?:ing)?>", re.DOTALL)
_LISTS = ("sentences", "descriptions", "captions", "answers", "list")  # names models give it
_BRACE = re.compile(r"[{\[]")
_TRIES = 50  # places in an answer at which JSON is looked for
_DECLINED = re.compile(
    r"(?:i(?:'|\u2019)?m sorry|i am sorry|sorry,|as an ai "
    r"|(?:unfortunately, )?i(?: am|'m|\u2019m) (?:unable|not able)"
    r"|i (?:cannot|can(?:'|\u2019)t) "
    r"(?:answer|assist|comply|describe|do|give|help|provide|see|view)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Query:
    """One answer to get. `text` and `images` (PNG files) make the message."""

    class_id: str
    prompt_id: str
    answer: int
    attempt: int
    seed: int
    text: str
    images: Sequence[bytes]


def message_content(query: Query) -> Any:
    """The query as the content of an OpenAI-style chat message, its images first."""
    if not query.images:
        return query.text
    urls = [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in query.images]
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [*pictures, {"type": "text", "text": query.text}]


def parse_reply(reply: Reply) -> list[str]:
    """The sentences of a reply; none if it was cut off: the remainder may look complete."""
    return parse_answer(reply.text) if reply.complete else []


def parse_answer(text: str) -> list[str]:
    """The sentences of an answer; none if it cannot be read or is empty.

    Read are {"sentences": [...]} (or another usual name for the list) and a bare list, also
    inside a code fence, after a model's thoughts or between other words. An answer whose every
    sentence declines to answer, or that holds lone surrogates, counts as unreadable.
    """
    for value in _json_values(text):
        if isinstance(value, dict):
            value = next((value[name] for name in _LISTS if name in value), None)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            continue
        sentences = [one for one in value if one.strip()]
        if sentences and not any(map(LONE_SURROGATE.search, sentences)):
            return [] if all(_DECLINED.match(one.strip()) for one in sentences) else sentences
    return []


def _json_values(text: str) -> Iterator[Any]:
    """The outermost JSON values behind a model's thoughts, in their order.

    For example '<think>...</think> Here: ["a"] and {"b": [1]}' gives ["a"] and {"b": [1]}, not [1].
    """
    text = text.strip()
    if text.startswith("<think") and "</think" not in text:
        return  # all of it is a thought
    if not text.startswith(("{", "[")):
        text = _THOUGHTS.sub("", text).strip()
    position = 0
    for _ in range(_TRIES):
        bracket = _BRACE.search(text, position)
        if bracket is None:
            return
        try:
            value, position = json.JSONDecoder().raw_decode(text, bracket.start())
            yield value
        except (ValueError, RecursionError):
            if bracket.start() == 0:
                return  # broken: brackets further on may be part of a sentence
            position = bracket.end()


def answer_schema(sentences: int) -> dict[str, Any]:
    """JSON schema of an answer; the root is an object because some servers insist on it."""
    items = {"type": "array", "items": {"type": "string"}}
    return {
        "type": "object",
        "properties": {"sentences": items | {"minItems": sentences, "maxItems": sentences}},
        "required": ["sentences"],
        "additionalProperties": False,
    }


def request_seed(class_id: str, prompt_id: str, answer: int, attempt: int, seed: int) -> int:
    """A seed below 2**31 that depends on the question, not on its position in a batch; it
    must never change."""
    key = json.dumps([seed, class_id, prompt_id, answer, attempt])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 2**31

"""A question to a model as the models take it, and its answer as sentences.

No backend lives here, hence the underscore (see pipeline.registry).
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.artifact import HALF_CHARACTER

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_DECLINED = re.compile(
    r"(?:i(?:'|\u2019)?m sorry|i am sorry|sorry,|i (?:cannot|can(?:'|\u2019)t) |as an ai )",
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


def parse(text: str) -> list[str]:
    """The sentences of an answer; none if it cannot be read or says nothing.

    Read are {"sentences": [...]}, an object whose only value is a list, and a bare list, also
    inside a code fence, after a <think> block or between other words. An answer whose every
    sentence declines to answer, or that holds half characters, counts as unreadable.
    """
    try:
        values = json.loads(_json_part(text))
    except (ValueError, RecursionError):
        return []
    if isinstance(values, dict):
        values = values.get("sentences", [*values.values()][0] if len(values) == 1 else None)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return []
    if any(HALF_CHARACTER.search(value) for value in values):
        return []
    said = [value for value in values if value.strip()]
    return [] if all(_DECLINED.match(value.strip()) for value in said) else said


def _json_part(text: str) -> str:
    """From the first brace or bracket to the last one, thoughts left out."""
    text = _THOUGHT.sub("", text)
    starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    end = max(text.rfind("}"), text.rfind("]")) + 1
    return text[min(starts) : end] if starts else text


def answer_schema(sentences: int) -> dict[str, Any]:
    """JSON schema of an answer; the root is an object because some servers insist on it."""
    items = {"type": "array", "items": {"type": "string"}}
    return {
        "type": "object",
        "properties": {"sentences": items | {"minItems": sentences, "maxItems": sentences}},
        "required": ["sentences"],
        "additionalProperties": False,
    }


def request_seed(
    class_id: str, prompt_id: str, answer: int, attempt: int, seed: int, bits: int = 31
) -> int:
    """A seed that depends on what is asked, not on its place in a batch; the same for ever."""
    key = json.dumps([seed, class_id, prompt_id, answer, attempt])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 2**bits

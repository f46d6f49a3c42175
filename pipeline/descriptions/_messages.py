"""A question to a model as the models take it, and its answer as sentences.

No backend lives here, hence the underscore (see pipeline.registry).
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


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
    """The sentences of an answer, {"sentences": [...]} or a bare list; none if it is neither,
    holds anything but strings, or only blanks."""
    try:
        values = json.loads(text)
    except ValueError:
        return []
    if isinstance(values, dict):
        values = values.get("sentences")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return []
    return [value for value in values if value.strip()]


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

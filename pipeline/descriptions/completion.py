"""What a server of the OpenAI protocol says: an answer, a refusal, or an error in its own words.

The client checks the form of nothing, and servers differ: content may be text, a list of parts,
or null beside a model's thoughts, which are never an answer.
"""

import json
from collections.abc import Sequence
from typing import Any

import openai

from pipeline.common.errors import UserError
from pipeline.common.secrets import redacted
from pipeline.descriptions.answer_log import Reply

SHOWN = 200  # most characters of a server's words in a message
_THOUGHTS = ("reasoning_content", "reasoning")
_CUT_OFF = {"length", "model_length", "max_tokens"}  # OpenAI's; Mistral's; Gemini's own
# OpenAI's and Azure's; Gemini's own
_FILTERED = {"content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii"}
_REFUSING_CODES = {
    "content_filter",  # Azure
    "ResponsibleAIPolicyViolation",  # Azure, in `innererror`
    "content_policy_violation",
    "invalid_prompt",  # OpenAI's reasoning models: flagged by the usage policy
}


def reply_of(completion: Any) -> Reply:
    """The reply in a completion.

    Raises:
        UserError: it is not a chat completion (the server may be something else).
    """
    try:
        [choice, *_] = completion.choices
        message, reason = choice.message, str(choice.finish_reason or "").lower()
        text = _text(message.content)
    except (AttributeError, TypeError, ValueError):
        shown = first_words(str(getattr(completion, "error", None) or completion))
        raise UserError(f"the answer is no chat completion: {shown!r}") from None
    thoughts = next((t for n in _THOUGHTS if isinstance(t := getattr(message, n, None), str)), "")
    refusal = _refusal(message, reason)
    return Reply(
        "" if refusal else text,
        reason not in _CUT_OFF,
        _tokens(completion, "prompt_tokens"),
        _tokens(completion, "completion_tokens"),
        refusal,
        "" if text else thoughts,
        _served_by(completion),
    )


def _tokens(completion: Any, kind: str) -> int:
    count = getattr(completion.usage, kind, None)
    return count if isinstance(count, int) else 0


def _text(content: Any) -> str:
    """Content as text. For example [{"type": "thinking", ...}, {"type": "text", "text": "a"}]
    gives "a"; null gives ""."""
    if isinstance(content, list):
        parts = [p for p in content if isinstance(p, dict) and p.get("type") == "text"]
        return "".join(p["text"] for p in parts if isinstance(p.get("text"), str))
    return content if isinstance(content, str) else ""


def _refusal(message: Any, reason: str) -> str:
    words = getattr(message, "refusal", None)
    if isinstance(words, str) and words.strip():
        return words
    # Some servers add why: "content_filter: PROHIBITED_CONTENT".
    return f"finish_reason: {reason}" if reason.partition(":")[0] in _FILTERED else ""


def _served_by(completion: Any) -> str:
    """For example "qwen2.5-7b", or with a fingerprint of the system "qwen2.5-7b (fp_44709d)"."""
    model, system = (getattr(completion, key, None) for key in ("model", "system_fingerprint"))
    if not isinstance(model, str):
        return ""
    return f"{model} ({system})" if isinstance(system, str) and system else model


def refusal_in(error: Exception, hidden: Sequence[str]) -> str:
    """The words of a content filter that answered with HTTP 400; "" for any other error."""
    if not isinstance(error, openai.BadRequestError) or not isinstance(body := _body(error), dict):
        return ""
    inner = body.get("innererror")
    codes = [body.get("code"), body.get("type"), inner.get("code") if inner else None]
    return own_words(error, hidden) if _REFUSING_CODES.intersection(map(str, codes)) else ""


def own_words(error: openai.APIStatusError, hidden: Sequence[str]) -> str:
    """What the server itself says: its first characters in one line, without the secrets
    `hidden`."""
    body = _body(error)
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    text = body if isinstance(body, str) else json.dumps(body) if body else error.message
    return redacted_words(text, hidden)


def redacted_words(text: str, hidden: Sequence[str]) -> str:
    """The first words of a text without secrets; more than is shown is searched for them, since
    they get shorter, but not all of what a server may send."""
    return first_words(redacted(first_words(text, 10 * SHOWN), hidden))


def _body(error: openai.APIStatusError) -> Any:
    """The error in the response's body: FastAPI's has a `detail`, Gemini's is in a list."""
    body = error.body
    if isinstance(body, list) and body:
        body = body[0]
    return body.get("error", body) if isinstance(body, dict) else body


def first_words(text: str, most: int = SHOWN) -> str:
    """The first `most` characters of a text in one line."""
    return " ".join(text.split())[:most]

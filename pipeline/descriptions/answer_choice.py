"""Fourth step of reading an answer: which of the values in it is the answer.

1. Readable is a value with a usable sentence: an object with a known key (answer_keys), or a
   bare list. Drafts in braces, examples ("...") and lists of key names are not.
2. Values of one kind continue each other where nothing but blanks, punctuation, code fences,
   numbers and words such as "and" or "part" stands between them, and none repeats a sentence.
3. The last object with a known key counts; without one, the last bare list; without JSON, the
   last list that is written in lines.
"""

import json
import re
from typing import Any, NamedTuple

from pipeline.descriptions.answer_json import Value, finished_part, json_values
from pipeline.descriptions.answer_keys import is_numbered, is_placeholder, rank
from pipeline.descriptions.answer_lists import last_list
from pipeline.descriptions.answer_sentences import has_end, looks_like_sentence, sentences_in
from pipeline.descriptions.artifact import LONE_SURROGATE

_BETWEEN = re.compile(
    r"(?:[\W\d_]|```\w*|\b(?:and|also|then|next|part|sentence|description|caption|json|jsonl)\b)*",
    re.IGNORECASE,
)


class _Candidate(NamedTuple):
    start: int
    end: int
    has_key: bool
    sentences: list[str]


def last_answer(text: str) -> list[str]:
    """The sentences of the last readable answer in a text without reasoning; none without one.

    Raises:
        BrokenError: the last thing that begins like an answer is broken.
    """
    text = _decoded(text)
    readable = [one for one in map(_candidate, json_values(text)) if one.sentences]
    answers = _joined(text, readable)
    if not answers:
        return _usable(_finished_points(last_list(text)))
    return max(answers, key=lambda answer: (answer.has_key, answer.start)).sentences


def finished_sentences(text: str) -> list[str]:
    """The sentences that an answer held before it was cut off, if all of it is JSON."""
    value = finished_part(text)
    return [] if value is None else _candidate(Value(0, 0, value)).sentences


def _decoded(text: str) -> str:
    """JSON that was written as a JSON string once more: "{\\"sentences\\": ..." """
    if not text.startswith('"'):
        return text
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def _candidate(value: Value) -> _Candidate:
    content = value.content
    has_key = isinstance(content, dict) or any(isinstance(one, dict) for one in content)
    texts = _texts(content) or []
    if not has_key and any(map(is_placeholder, texts)):
        texts = []  # names of keys
    return _Candidate(value.start, value.end, has_key, _usable(texts))


def _usable(texts: list[str]) -> list[str]:
    if any(map(LONE_SURROGATE.search, texts)):
        return []
    return [sentence for text in texts for sentence in sentences_in(text)]


def _finished_points(points: list[str]) -> list[str]:
    """Those with an end mark; where none has one, those that look like sentences."""
    return list(filter(has_end, points)) or list(filter(looks_like_sentence, points))


def _joined(text: str, candidates: list[_Candidate]) -> list[_Candidate]:
    answers: list[_Candidate] = []
    for part in candidates:
        last = answers[-1] if answers else None
        if last and last.has_key == part.has_key and _continues(text, last, part):
            sentences = last.sentences + part.sentences
            answers[-1] = _Candidate(last.start, part.end, part.has_key, sentences)
        else:
            answers.append(part)
    return answers


def _continues(text: str, before: _Candidate, after: _Candidate) -> bool:
    repeated = set(before.sentences).intersection(after.sentences)
    return not repeated and _BETWEEN.fullmatch(text, before.end, after.start) is not None


def _texts(content: Any) -> list[str] | None:
    """The strings of a value that stand where sentences stand; None if it is no answer."""
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if isinstance(content, dict):
        return _texts_of_object(content)
    if not isinstance(content, list):
        return None
    texts = [_texts(one) for one in content]
    if any(one is None for one in texts):
        return None
    return [text for one in texts if one is not None for text in one]


def _texts_of_object(content: dict[str, Any]) -> list[str] | None:
    """The first known key counts, then keys that count sentences, then an object inside."""
    known = [key for key in content if rank(key) is not None and not is_numbered(key)]
    for key in sorted(known, key=lambda key: rank(key) or 0):
        texts = _texts_under_key(content[key])
        if texts:
            return texts
    if numbered := [content[key] for key in content if is_numbered(key)]:
        return _texts(numbered)
    inner = (_texts_of_object(one) for one in content.values() if isinstance(one, dict))
    return next((texts for texts in inner if texts), None)


def _texts_under_key(content: Any) -> list[str] | None:
    """Under a known key a single string, or strings by other names, must look like sentences."""
    if isinstance(content, str):
        return [content] if looks_like_sentence(content) else None
    if isinstance(content, dict):
        texts = _texts_of_object(content)
        if texts or not all(isinstance(one, str) for one in content.values()):
            return texts
        return list(content.values()) if all(map(looks_like_sentence, content.values())) else None
    return _texts(content)

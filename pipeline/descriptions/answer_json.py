"""Third step of reading an answer: the JSON values in it, also those that are not quite JSON.

Read besides JSON: single and typographic quotes, Python's True, False and None, keys without
quotes, trailing commas, comments, raw line breaks and plain quotation marks inside a string:

    {'sentences': ['The fox's tail is red.', "It is called "brush".",]}

Nothing is completed or guessed: a value without its end is no value. Own code, because what
repairs JSON makes a sentence of half of one, and json5 reads no apostrophe in single quotes.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

_DEPTH = 8
_TRIES = 1000  # brackets of a text that are looked at
_BROKEN = 50  # of them that begin like an answer and are none, before the text counts as broken
_INNER = 100  # quotation marks of a text that are looked at for the end of a string
_CUTS = 50  # commas of an answer without an end that may be its last
_STRICT = json.JSONDecoder(strict=False)  # raw line breaks in strings
_BRACKET = re.compile(r"[{\[]")
_ANY_BRACKET = re.compile(r"[{}\[\]]")
# `{"sentences": `, `["A`, `[{`: an answer, not brackets in prose such as `[as asked]`.
_BEGINS = re.compile(r"\{\s*[\"'“‘]?[\w ]+[\"'”’]?\s*:|\[\s*[\"'“‘{]")
_SPACE = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_CLOSING = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_QUOTES = {quote: re.compile(rf"\\.|{quote}", re.DOTALL) for quote in _CLOSING.values()}
_AFTER_STRING = re.compile(r"\s*(?:[,:\]}]|//|/\*|\Z)")
_QUOTE_NEXT = re.compile(r"\s*[\"'“‘]")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORD = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}


class Value(NamedTuple):
    """A JSON object or list, and the characters that it takes: text[start:end]."""

    start: int
    end: int
    content: Any


class BrokenError(ValueError):
    """What begins like an answer cannot be read, or has no end."""


def json_values(text: str) -> list[Value]:
    """The outermost objects and lists of a text, in their order.

    For example 'Here: ["a"] and {"b": [1]}' gives ["a"] and {"b": [1]}, not [1].

    Raises:
        BrokenError: the last thing that begins like an answer is broken. What stands before it
            is a draft, and brackets inside it may be part of a sentence.
    """
    values: list[Value] = []
    broken, failures, position = False, 0, 0
    for _ in range(_TRIES):
        bracket = _BRACKET.search(text, position)
        if bracket is None or failures > _BROKEN:
            break
        start = bracket.start()
        try:
            content, position = _read(text, start)
            values.append(Value(start, position, content))
            broken = False
        except (ValueError, IndexError, RecursionError):
            if _BEGINS.match(text, start):
                values, broken, position = [], True, _naive_end(text, start)
                failures += 1
            else:
                position = start + 1
    if broken:
        raise BrokenError
    return values


def finished_part(text: str) -> Any:
    """What an answer that was cut off held until then: its finished strings; None if it holds
    anything but JSON, or no finished string.

    '{"sentences": ["A fox is red.", "Its ta' gives {"sentences": ["A fox is red."]}.
    """
    text = re.sub(r"^```\w*", "", text.strip()).strip()
    if not _BEGINS.match(text):
        return None
    for comma in reversed(list(re.finditer(r"[\"}]\s*,", text))[-_CUTS:]):
        for closing in ("]}", "]", "}]}", "}]", "}"):
            try:
                return json.loads(text[: comma.start() + 1] + closing, strict=False)
            except (ValueError, RecursionError):
                continue
    return None


def _naive_end(text: str, start: int) -> int:
    """Where the brackets from `start` on are even, quotes or not; else the end of the text."""
    depth = 0
    for bracket in _ANY_BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "{[" else -1
        if depth == 0:
            return bracket.end()
    return len(text)


def _read(text: str, start: int) -> tuple[Any, int]:
    try:
        return _STRICT.raw_decode(text, start)
    except ValueError:
        return _value(text, start, 0)


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at text[at], and where it ends."""
    if depth > _DEPTH:
        raise BrokenError
    if text[at] in _CLOSING:
        return _string(text, at)
    if text[at] == "[":
        return _members(text, at, "]", depth)
    if text[at] == "{":
        pairs, end = _members(text, at, "}", depth)
        return dict(pairs), end
    if number := _NUMBER.match(text, at):
        return float(number[0]), number.end()
    word = _WORD.match(text, at)
    if word is None or word[0].lower() not in _CONSTANTS:
        raise BrokenError
    return _CONSTANTS[word[0].lower()], word.end()


def _members(text: str, at: int, closing: str, depth: int) -> tuple[list[Any], int]:
    """The values of a list, or the pairs of an object, from its opening bracket on."""
    members: list[Any] = []
    at = _skip(text, at + 1)
    while text[at] != closing:
        member, at = (_value if closing == "]" else _pair)(text, at, depth + 1)
        members.append(member)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        elif text[at] != closing:
            raise BrokenError
    return members, at + 1


def _pair(text: str, at: int, depth: int) -> tuple[tuple[str, Any], int]:
    if text[at] in _CLOSING:
        key, at = _string(text, at)
    elif word := _WORD.match(text, at):
        key, at = word[0], word.end()
    else:
        raise BrokenError
    at = _skip(text, at)
    if text[at] != ":":
        raise BrokenError
    value, at = _value(text, _skip(text, at + 1), depth)
    return (key, value), at


def _string(text: str, at: int) -> tuple[str, int]:
    """A string ends at its quote if what follows may follow a string; plain double quotes inside
    it come in pairs, or one of them was its end."""
    for inner, end in enumerate(islice(_quotes(text, at + 1, _CLOSING[text[at]]), _INNER)):
        if _AFTER_STRING.match(text, end + 1):
            if inner % 2 and text[end] == '"':
                break
            return _unescaped(text[at + 1 : end]), end + 1
        if _QUOTE_NEXT.match(text, end + 1):
            break  # a comma is missing
    raise BrokenError


def _quotes(text: str, at: int, quote: str) -> Iterator[int]:
    for match in _QUOTES[quote].finditer(text, at):
        if match[0] == quote:
            yield match.start()


def _unescaped(text: str) -> str:
    def character(escape: re.Match[str]) -> str:
        code = escape[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)

    # halves of a character beyond 16 bits become one
    plain = _ESCAPE.sub(character, text).encode("utf-16", "surrogatepass")
    return plain.decode("utf-16", "surrogatepass")


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at

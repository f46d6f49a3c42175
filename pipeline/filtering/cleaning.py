"""Sentences as a model wrote them, made fit for CLIP or dropped with a reason code.

| code             | dropped because                                                       |
|------------------|-----------------------------------------------------------------------|
| `empty`          | nothing but white space, markup or numbering                          |
| `refusal`        | no answer: the model declines, does not know or asks for more         |
| `meta`           | talk about the answer ("Here are five sentences:"), or a question     |
| `fragment`       | fewer words than `min_words`                                          |
| `duplicate`      | says the same as an earlier one, but for case and punctuation         |
| `near_duplicate` | as alike to an earlier one as `near_duplicate` or more, and no word   |
|                  | of weight differs but in spelling ("horn", "horns")                   |
| `too_long`       | CLIP would cut it and no beginning of it stands on its own            |
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from rapidfuzz import fuzz, process

from pipeline.common.params import Section
from pipeline.filtering.plain_text import beginnings, normalise

REASONS = ("empty", "refusal", "meta", "fragment", "duplicate", "near_duplicate", "too_long")
CountTokens = Callable[[Sequence[str]], list[int]]

LONGEST = 2000  # characters of a text that are looked at; CLIP reads a few hundred
# "I'm sorry, but I cannot describe it.", "As an AI language model, I ...", "It is hard to answer".
_REFUSAL = re.compile(
    r"^i(?:'m| am| was) (?:\w+ )?"
    r"(?:sorry|afraid|unable|unsure|not (?:able|certain|familiar|sure))\b"
    r"|^(?:sorry|(?:my )?apologies|i apologi[sz]e|please|can you|could you|what do you mean)\b"
    r"|^i have no (?:idea|information|knowledge|way)\b"
    r"|^i do(?:n't| not) (?:know|understand|recogni[sz]e|have (?!to\b)|see (?:an?|any|the)\b)"
    r"|^i (?:can(?:'t|not| not)|could(?:n't| not)|won't|will not) (?:be able|access|answer|assist"
    r"|comply|continue|create|describe|determine|generate|give|help(?! but)|identify|provide"
    r"|recogni[sz]e|say|see (?:an?|any|that|the|this|your)\b|tell|view|write)"
    r"|^unfortunately,? (?:i|it|no|there|we)\b"
    r"|^(?:as|i'm|i am) (?:just |only )?an? (?:\w+ ){0,2}(?:ai|language model)(?![\w-])"
    r"|^(?:as an? (?:\w+ )?assistant,|i(?:'m| am) an? (?:\w+ )?assistant\b)"
    r"|^(?:it seems )?(?:that )?there (?:is|was|has been) an? (?:\w+ )?misunderstanding"
    r"|^(?:(?:this |your )?question is|this is a (?:bit of a )?(?:[\w-]+ )?question)\b"
    r"|\banswers? to (?:that|the|this|your) question\b"
    r"|\bthere (?:is|are) (?:no|not) (?:[\w-]+ ){0,3}answers?\b"
    r"|\b(?:difficult|hard|impossible) to (?:answer|(?:give|provide) an? (?:[\w-]+ )?answer)\b",
    re.IGNORECASE,
)
_ANSWER = r"(?:[\w-]+ ){0,4}(?:sentence|description|caption|answer|response|list)s?\b"
# "Here are five sentences:", "Sure! A cat is small.", "I hope this helps.", "What is a cat?"
_META = re.compile(
    r"^(?:sure|certainly|of course|absolutely|okay|ok)\b(?: thing)?[!,.:]|^great!"
    rf"|^here(?:'s| is| are) (?:{_ANSWER}|(?:an? )?json\b)|^here you (?:go|are)\b"
    rf"|^(?:below (?:is|are)|the following(?: are)?|note that (?:the|these|this)) {_ANSWER}"
    r"|^these (?:[\w-]+ )?(?:sentence|description|caption)s?\b"
    r"|^the (?:sentence|description|caption)s? (?:above|below)\b"
    r"|^i(?:'ve| have) (?:attached|included|provided|written)\b"
    r"|^i(?:'ll| will) (?:now|provide|write)\b"
    r"|^(?:i hope|let me know|feel free|note that i)\b"
    r"|(?<!\d):(?:\W*|-?\d[.)])$|\?[\"')]*\.?$",  # a list that is not there; a question
    re.IGNORECASE,
)
# "cat", "don't", "web-footed"
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
# words that two repeats may differ in
_LIGHT = frozenset(
    re.findall(
        r"\w+",
        "a also an and are as be by commonly generally has have in is it its mostly normally of "
        "often on or that the their there these they this to typically usually very was were "
        "which with",
    )
)


class CleaningParams(Section):
    """`filter.cleaning` of params.yaml, where every key is explained."""

    min_words: int = Field(ge=1)
    near_duplicate: float = Field(gt=0, le=1)
    too_long: Literal["shorten", "drop"]


@dataclass(frozen=True)
class Cleaned:
    """A sentence after cleaning; `reason` is one of REASONS where it was dropped, else None."""

    text: str
    tokens: int
    shortened: bool
    reason: str | None


def clean(
    texts: Sequence[str], params: CleaningParams, context: int, count_tokens: CountTokens
) -> list[Cleaned]:
    """The sentences of one class, in their order.

    Args:
        context: tokens that the text encoder reads, with start and end (77 in CLIP).
        count_tokens: tokens of each text with start and end, before any cut.
    """
    cleaned: list[Cleaned] = []
    kept_words: list[str] = []
    plain = [normalise(text[:LONGEST]) for text in texts]
    for text, tokens in zip(plain, count_tokens(plain), strict=True):
        reason, shortened = _fault(text, params), False
        if reason is None and tokens > context:
            shorter = _shorten(text, params, context, count_tokens)
            if shorter is None:
                reason = "too_long"
            else:
                text, shortened, tokens = shorter, True, count_tokens([shorter])[0]
        if reason is None:
            reason = _repeats(_plain_words(text), kept_words, params.near_duplicate)
        if reason is None:
            kept_words.append(_plain_words(text))
        cleaned.append(Cleaned(text, tokens, shortened, reason))
    return cleaned


def _fault(text: str, params: CleaningParams) -> str | None:
    words = _WORD.findall(text)
    if not words:
        return "empty"
    if _REFUSAL.search(text):
        return "refusal"
    if _META.search(text):
        return "meta"
    return "fragment" if len(words) < params.min_words else None


def _plain_words(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _repeats(text: str, kept_words: Sequence[str], threshold: float) -> str | None:
    if text in kept_words:
        return "duplicate"
    alike = process.extract_iter(text, kept_words, scorer=fuzz.ratio, score_cutoff=100 * threshold)
    return "near_duplicate" if any(_same_words(text, other) for other, _, _ in alike) else None


def _same_words(text: str, other: str) -> bool:
    """Whether the words of weight that only one of the two has are the other's, spelled nearly
    the same: "eight legs" is not "six legs", however long the sentence."""
    words, others = ({*t.replace("-", " ").split()} - _LIGHT for t in (text, other))
    mine, theirs = words - others, others - words
    return all(any(_one_word(a, b) for b in theirs) for a in mine) and all(
        any(_one_word(a, b) for a in mine) for b in theirs
    )


def _one_word(word: str, other: str) -> bool:
    # the same first letter: "painted" is not "unpainted"; letters only: 1000 is not 10000
    alike = word[0] == other[0] and fuzz.ratio(word, other) >= 85
    return alike and not any(c.isdigit() for c in word + other)


def _shorten(
    text: str, params: CleaningParams, context: int, count_tokens: CountTokens
) -> str | None:
    """The longest of `beginnings` that fits and has no fault; None: there is none, or
    shortening is not wanted."""
    if params.too_long == "drop":
        return None
    candidates = [part for part in beginnings(text) if _fault(part, params) is None][::-1]
    for candidate, tokens in zip(candidates, count_tokens(candidates), strict=True):
        if tokens <= context:
            return candidate
    return None

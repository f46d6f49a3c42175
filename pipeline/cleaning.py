"""Sentences as a model wrote them, made fit for CLIP or dropped with a reason code.

| code             | dropped because                                                       |
|------------------|-----------------------------------------------------------------------|
| `empty`          | nothing but white space, markup or numbering                          |
| `refusal`        | the model declines ("I'm sorry, but I cannot ...")                    |
| `meta`           | talk about the answer ("Sure, here are five sentences:")              |
| `fragment`       | fewer words than `min_words`                                          |
| `duplicate`      | says the same as an earlier one, but for case and punctuation         |
| `near_duplicate` | as alike to an earlier one as `near_duplicate` or more                |
| `too_long`       | CLIP would cut it and it cannot be shortened at the end of a clause   |
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from rapidfuzz import fuzz

from pipeline.params import Section

REASONS = ("empty", "refusal", "meta", "fragment", "duplicate", "near_duplicate", "too_long")
CountTokens = Callable[[Sequence[str]], list[int]]

_TYPOGRAPHY = str.maketrans("‘’‚“”„‐‑‒–—―−", "'''\"\"\"-------")
_LEAD = re.compile(
    r"^(?:[-*+•·>#|]+\s+|#+\s*|\(?\d{1,3}[.):](?:\s+|$)|[a-z]\.\s+|\(?[a-zA-Z]\)\s+|\[\d{1,3}\]\s+|[-•·]\s*)+"
)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"(\*\*|__|\*|`+|~~)(?=\S)(.+?)(?<=\S)\1")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,40}>")
_REFUSAL = re.compile(
    r"^(?:i(?:'m| am) (?:sorry|unable|not able|afraid)|sorry,|i apologi[sz]e"
    r"|i (?:can(?:'t|not| not)|could(?:n't| not)|won't|do(?:n't| not) have) |unfortunately, i "
    r"|(?:as|i'm|i am) an? (?:\w+ )?(?:ai|language model|assistant))",
    re.IGNORECASE,
)
_META = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely|okay|ok)\b[!,.:]|great!"
    r"|here (?:are|is|'s)\b[^.]*:|here (?:are|is) (?:\w+ ){0,4}(?:sentences?|descriptions?)\b"
    r"|below (?:are|is)\b|the following (?:sentences?|descriptions?|are)\b"
    r"|(?:i hope|let me know|feel free|note that (?:this|these|the above))\b"
    r"|(?:sentences?|descriptions?|answers?|json|output)\s*:)",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[.;:!?](?=\s)|,(?=\s)|\s-\s")
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


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
    kept: list[str] = []
    plain = [normalise(text) for text in texts]
    for text, tokens in zip(plain, count_tokens(plain), strict=True):
        reason, shortened = _fault(text, params), False
        if reason is None and tokens > context:
            shorter = _shorten(text, params, context, count_tokens)
            if shorter is None:
                reason = "too_long"
            else:
                text, shortened, tokens = shorter, True, count_tokens([shorter])[0]
        if reason is None:
            reason = _repeats(_plain_words(text), kept, params.near_duplicate)
        if reason is None:
            kept.append(_plain_words(text))
        cleaned.append(Cleaned(text, tokens, shortened, reason))
    return cleaned


def normalise(text: str) -> str:
    """One line of plain text: Unicode NFKC, plain quotes and dashes, no control or invisible
    characters, no markdown, list numbering or enclosing quotes."""
    text = unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or _visible(c))
    text = _TAG.sub(" ", _LINK.sub(r"\1", text))
    previous = None
    while previous != text:
        previous = text
        text = _MARKS.sub(r"\2", _LEAD.sub("", " ".join(text.split())))
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2:
            text = text[1:-1]
    return text.strip()


def _visible(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs", "Cn")


def _fault(text: str, params: CleaningParams) -> str | None:
    words = _WORD.findall(text)
    if not words:
        return "empty"
    if _REFUSAL.search(text):
        return "refusal"
    if _META.search(text) or text.endswith(":"):
        return "meta"
    return "fragment" if len(words) < params.min_words else None


def _repeats(text: str, kept: Sequence[str], threshold: float) -> str | None:
    if text in kept:
        return "duplicate"
    if threshold < 1 and any(fuzz.ratio(text, other) >= 100 * threshold for other in kept):
        return "near_duplicate"
    return None


def _plain_words(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _shorten(
    text: str, params: CleaningParams, context: int, count_tokens: CountTokens
) -> str | None:
    """The longest beginning that ends with a clause, fits and is no fragment; None: there is
    none, or shortening is not wanted."""
    if params.too_long == "drop":
        return None
    ends = [match.start() for match in _CLAUSE_END.finditer(text)]
    candidates = [text[:end].rstrip(" ,;:-") for end in reversed(ends)]
    candidates = [c if c[-1:] in ".!?" else f"{c}." for c in candidates]
    candidates = [c for c in candidates if len(_WORD.findall(c)) >= params.min_words]
    for candidate, tokens in zip(candidates, count_tokens(candidates), strict=True):
        if tokens <= context:
            return candidate
    return None

"""Sentences as a model wrote them, made fit for CLIP or dropped with a reason code.

First what surrounds a sentence is cut (pipeline.filtering.debris, plain_text). Then the reasons
are asked in this order:

| code                | dropped because                                                    |
|---------------------|--------------------------------------------------------------------|
| `empty`             | nothing but white space, markup or numbering                       |
| `language`          | another script or another language than English                    |
| `refusal`           | no answer: the model declines, does not know or asks for more      |
| `meta`              | talk about the answer ("Here are five sentences:"), or asks back   |
| `link`              | an address, or "image may be found"                                |
| `template`          | a form that was not filled in ("The {class} has a tail.")          |
| `code`              | program text                                                       |
| `instruction`       | tells the reader to do something ("Look at the goldfish!")         |
| `first_person`      | about the writer ("I see a basketball")                            |
| `question`          | a question; where an answer follows it, the answer is kept         |
| `definition`        | a dictionary's line about a word ("stove (n.): a device")          |
| `no_content`        | that there are features, and not which ("Size, shape, and color.") |
| `continuation`      | goes on with the question's last word ("turtleThe photo shows")    |
| `cut_off`           | ends inside a sentence ("A fox is about 1.")                       |
| `fragment`          | fewer words than `min_words`                                       |
| `no_statement`      | a name alone ("A convertible car"), or a clause that hangs on      |
|                     | nothing ("To hold food")                                           |
| `several_sentences` | more than one, where `several_sentences` is `drop`                 |
| `needs_name`        | a pronoun for the class's name, where `needs_name` is `drop`       |
| `too_long`          | CLIP would cut it and no beginning of it stands on its own         |
| `duplicate`         | says the same as an earlier one, but for case and punctuation      |
| `near_duplicate`    | as alike to an earlier one as `near_duplicate` or more, and no     |
|                     | word of weight differs but in spelling ("horn", "horns")           |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from pipeline.common.bounds import Count
from pipeline.common.params import Section
from pipeline.descriptions.refusals import is_refusal
from pipeline.filtering import naming, no_answer, unfinished
from pipeline.filtering.debris import without_chat_tokens, without_marks, without_opening
from pipeline.filtering.language import is_foreign
from pipeline.filtering.plain_text import WORD, beginnings, normalise
from pipeline.filtering.repeats import plain_words, repeats

CountTokens = Callable[[Sequence[str]], list[int]]
# Reasons that the text alone decides, in the order in which they are asked.
_FAULTS: dict[str, Callable[[str], bool]] = {
    "refusal": is_refusal,
    "meta": no_answer.is_meta,
    "link": no_answer.has_link,
    "template": unfinished.is_template,
    "code": unfinished.has_code,
    "instruction": no_answer.is_instruction,
    "first_person": no_answer.is_first_person,
    "question": no_answer.is_question,
    "definition": unfinished.is_definition,
    "no_content": unfinished.has_no_content,
    "continuation": unfinished.is_continuation,
    "cut_off": unfinished.is_cut_off,
}
REASONS = (
    *("empty", "language"),
    *_FAULTS,
    *(
        "fragment",
        "no_statement",
        "several_sentences",
        "needs_name",
        "too_long",
        "duplicate",
        "near_duplicate",
    ),
)
LONGEST = 2000  # characters of a text that are looked at; CLIP reads a few hundred


class CleaningParams(Section):
    """`filter.cleaning` of params.yaml, where every key is explained."""

    min_words: Count
    near_duplicate: float = Field(gt=0, le=1)
    too_long: Literal["shorten", "drop"]
    several_sentences: Literal["keep", "drop"]
    needs_name: Literal["keep", "drop", "insert"]


@dataclass(frozen=True)
class Cleaned:
    """A sentence after cleaning; `reason` is one of REASONS where it was dropped, else None."""

    text: str
    tokens: int
    shortened: bool
    reason: str | None


def clean(
    texts: Sequence[str],
    params: CleaningParams,
    context: int,
    count_tokens: CountTokens,
    class_name: str = "",
) -> list[Cleaned]:
    """The sentences of one class, in their order.

    Args:
        context: tokens that the text encoder reads, with start and end (77 in CLIP).
        count_tokens: tokens of each text with start and end, before any cut.
        class_name: as people write it; "": unknown, and `needs_name` changes nothing.
    """
    cleaned: list[Cleaned] = []
    kept_words: list[str] = []
    plain = [plain_sentence(text) for text in texts]
    if params.needs_name == "insert" and class_name:
        plain = [naming.with_name(text, class_name) for text in plain]
    for text, tokens in zip(plain, count_tokens(plain), strict=True):
        reason, shortened = _fault(text, params, class_name), False
        if reason is None and tokens > context:
            shorter = _shorten(text, params, context, count_tokens, class_name)
            if shorter is None:
                reason = "too_long"
            else:
                text, shortened, tokens = shorter, True, count_tokens([shorter])[0]
        if reason is None:
            reason = repeats(plain_words(text), kept_words, params.near_duplicate)
        if reason is None:
            kept_words.append(plain_words(text))
        cleaned.append(Cleaned(text, tokens, shortened, reason))
    return cleaned


def plain_sentence(raw: str) -> str:
    """One line of plain text without what surrounds the sentence in an answer.

    '}]1. **A fox** is red.<|im_end|>' -> "A fox is red."
    """
    text = normalise(without_chat_tokens(raw[:LONGEST]))
    cut = without_opening(without_marks(text))
    return text if cut == text else normalise(cut)


def _fault(text: str, params: CleaningParams, class_name: str) -> str | None:
    if not WORD.search(text):
        return "empty"
    if is_foreign(text, class_name):
        return "language"
    for reason, has_fault in _FAULTS.items():
        if has_fault(text):
            return reason
    if len(WORD.findall(text)) < params.min_words:
        return "fragment"
    if unfinished.is_no_statement(text, class_name):
        return "no_statement"
    if params.several_sentences == "drop" and unfinished.has_several_sentences(text):
        return "several_sentences"
    if params.needs_name == "drop" and class_name and naming.has_pronoun_for_name(text, class_name):
        return "needs_name"
    return None


def _shorten(
    text: str, params: CleaningParams, context: int, count_tokens: CountTokens, class_name: str
) -> str | None:
    """The longest of `beginnings` that fits and has no fault; None: there is none, or
    shortening is not wanted."""
    if params.too_long == "drop":
        return None
    candidates = [part for part in beginnings(text) if _fault(part, params, class_name) is None][
        ::-1
    ]
    for candidate, tokens in zip(candidates, count_tokens(candidates), strict=True):
        if tokens <= context:
            return candidate
    return None

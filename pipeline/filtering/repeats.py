"""Whether a sentence says what an earlier one of its class says."""

from collections.abc import Sequence

from rapidfuzz import fuzz, process

from pipeline.filtering.plain_text import WORD
from pipeline.filtering.word_lists import LIGHT


def plain_words(text: str) -> str:
    """The words in lower case, without punctuation: what two repeats have in common."""
    return " ".join(WORD.findall(text.casefold()))


def repeats(text: str, kept_words: Sequence[str], threshold: float) -> str | None:
    """`duplicate`, `near_duplicate` (at least `threshold` alike, 0..1) or None.

    Args:
        text: as `plain_words` gives it, and so are the `kept_words` of the class.
    """
    if text in kept_words:
        return "duplicate"
    alike = process.extract_iter(text, kept_words, scorer=fuzz.ratio, score_cutoff=100 * threshold)
    return "near_duplicate" if any(_same_words(text, other) for other, _, _ in alike) else None


def _same_words(text: str, other: str) -> bool:
    """Whether the words of weight that only one of the two has are the other's, spelled nearly
    the same: "eight legs" is not "six legs", however long the sentence."""
    words, others = ({*t.replace("-", " ").split()} - LIGHT for t in (text, other))
    mine, theirs = words - others, others - words
    return all(any(_one_word(a, b) for b in theirs) for a in mine) and all(
        any(_one_word(a, b) for a in mine) for b in theirs
    )


def _one_word(word: str, other: str) -> bool:
    # the same first letter: "painted" is not "unpainted"; letters only: 1000 is not 10000
    alike = word[0] == other[0] and fuzz.ratio(word, other) >= 85
    return alike and not any(c.isdigit() for c in word + other)

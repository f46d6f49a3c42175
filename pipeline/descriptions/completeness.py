"""Whether a model's answers are complete: counts for provenance.json, and what is missing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.unread import kind_of_unread

# Attempts that were cut off, had no usable sentence, were declined, or had fewer sentences than
# asked for; answers without any in the end; sentences beyond those asked for, left out, and those
# that what is kept lacks.
COUNTED = (
    *("from_earlier_run", "truncated", "unreadable", "refused", "short"),
    *("lost", "surplus_sentences", "missing_sentences"),
)
NAMED = 20  # classes with missing sentences that provenance names; more are only counted
Key = tuple[str, str, int, int | None]  # class, prompt, answer, image that it is about if any


def count_attempt(counts: Counter[str], reply: Reply, usable: int, asked: int) -> None:
    """Add a reply with `usable` sentences, of `asked`, to the counts."""
    counts["surplus_sentences"] += max(usable - asked, 0)
    if not usable:
        counts[kind_of_unread(reply)] += 1
    elif not reply.complete:
        counts["truncated"] += 1
    elif usable < asked:
        counts["short"] += 1


def count_missing(
    counts: Counter[str], kept: Mapping[Key, Sequence[str]], asked: int
) -> dict[str, Any]:
    """Add what is lost for good to the counts; the part of provenance.json about it.

    `missing_by_class` names each class with the number of its missing sentences, where there are
    at most NAMED of them.
    """
    missing: Counter[str] = Counter()
    for (class_id, *_), texts in kept.items():
        missing[class_id] += asked - len(texts)
    missing = +missing
    counts["lost"] = sum(not texts for texts in kept.values())
    counts["missing_sentences"] = missing.total()
    return {"missing_by_class": dict(missing)} if 0 < len(missing) <= NAMED else {}

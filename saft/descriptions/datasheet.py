"""Figures about a description artifact, for people who decide whether to use it.

Plain values throughout, so that the printed page and the JSON object cannot differ. `class_rows`
is everywhere class id -> rows of pipeline.descriptions.artifact.SCHEMA, at least one per class,
each with the number of its image where it is a caption.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from pipeline.descriptions.sources import is_fill
from pipeline.filtering.cleaning import REASONS, Cleaned, CleaningParams, CountTokens, clean
from pipeline.images.classes import ClassEntry
from saft.descriptions.wording import duplicates, wording

Row = dict[str, Any]
ClassRows = Mapping[str, Sequence[Row]]
CONTEXT = 77  # tokens that OpenAI's CLIP models read, with start and end
# What `filter.cleaning` is in the committed params.yaml, for artifacts outside a project.
DEFAULT_CLEANING = CleaningParams(
    min_words=3,
    near_duplicate=0.95,
    too_long="shorten",
    several_sentences="keep",
    needs_name="keep",
)


def datasheet(
    class_rows: ClassRows,
    classes: Sequence[ClassEntry] | None,
    cleaning: CleaningParams,
    context: int,
    count_tokens: CountTokens,
) -> dict[str, Any]:
    """Coverage, counts, lengths, repeats, wording, what cleaning would drop, a row per class.

    Args:
        classes: the class table; None: there is none to compare with.
        context: tokens that the text encoder reads.
        count_tokens: called only for texts that cleaning changed; the others are counted
            in the artifact.
    """
    rows = list(chain.from_iterable(class_rows.values()))
    counting = _remembering(rows, count_tokens)
    verdicts = {
        class_id: clean(
            [row["sentence"] for row in rows_of_class],
            cleaning,
            context,
            counting,
            rows_of_class[0]["class_name"],
        )
        for class_id, rows_of_class in class_rows.items()
    }
    return {
        "coverage": coverage(class_rows, classes),
        "sentences": per_class({class_id: len(rows) for class_id, rows in class_rows.items()}),
        "prompts": _counted(rows, "prompt_set", "prompt_id"),
        "sources": _counted(rows, "source"),
        "captions": captions(class_rows),
        "words": spread([len(row["sentence"].split()) for row in rows]),
        "tokens": _tokens(rows, context),
        "duplicates": duplicates(class_rows, verdicts),
        "wording": wording(class_rows),
        "cleaning": cleaned(class_rows, verdicts) | cleaning.model_dump() | {"context": context},
        "classes": _class_rows(class_rows, verdicts, classes or []),
    }


def coverage(class_rows: ClassRows, classes: Sequence[ClassEntry] | None) -> dict[str, Any]:
    """How many classes are described, of how many; ids of `missing` and of `unknown` ones,
    which the class table does not have. Without a table, `of` and both lists are None."""
    if classes is None:
        return {"described": len(class_rows), "of": None, "missing": None, "unknown": None}
    ids = dict.fromkeys(class_entry.class_id for class_entry in classes)
    missing = [class_id for class_id in ids if class_id not in class_rows]
    unknown = [class_id for class_id in class_rows if class_id not in ids]
    described = len(ids) - len(missing)
    return {"described": described, "of": len(ids), "missing": missing, "unknown": unknown}


def captions(class_rows: ClassRows) -> dict[str, int] | None:
    """Sentences that describe an image each, how many images these are, and of how many classes;
    None where there are none."""
    images = [
        (class_id, row["image"])
        for class_id, rows in class_rows.items()
        for row in rows
        if "image" in row
    ]
    if not images:
        return None
    classes = len({class_id for class_id, _ in images})
    return {"sentences": len(images), "images": len(set(images)), "classes": classes}


def spread(values: Sequence[int]) -> dict[str, float]:
    """Minimum, median, 95 % (the smallest value that so many do not exceed) and maximum."""
    ordered = sorted(values)
    high = ordered[math.ceil(0.95 * len(ordered)) - 1]
    median = float(statistics.median(ordered))
    return {"min": ordered[0], "median": median, "p95": high, "max": ordered[-1]}


def per_class(counts: Mapping[str, int]) -> dict[str, Any]:
    """Total and spread of sentences over classes, and the ids of those with the fewest."""
    least = min(counts.values())
    fewest = [class_id for class_id, count in counts.items() if count == least]
    per_class_spread = spread(list(counts.values()))
    return {"total": sum(counts.values()), "per_class": per_class_spread, "fewest": fewest}


def cleaned(class_rows: ClassRows, verdicts: Mapping[str, Sequence[Cleaned]]) -> dict[str, Any]:
    """What cleaning would leave and shorten, and per reason code what it would drop: the
    number of sentences and the first of them."""
    dropped: dict[str, dict[str, Any]] = {}
    for class_id, rows in class_rows.items():
        for row, verdict in zip(rows, verdicts[class_id], strict=True):
            if verdict.reason:
                first = {"class_id": class_id, "sentence": row["sentence"]}
                figures = dropped.setdefault(verdict.reason, {"sentences": 0, "example": first})
                figures["sentences"] += 1
    return {
        "left": per_class({key: _kept(of_class) for key, of_class in verdicts.items()}),
        "shortened": sum(v.shortened and not v.reason for v in chain(*verdicts.values())),
        "dropped": {reason: dropped[reason] for reason in REASONS if reason in dropped},
    }


def filtered(rows: Sequence[Row], sentences: int) -> dict[str, Any]:
    """What the filter stage did, from the rows of pipeline.filtering.table.SCHEMA.

    `filled` are the kept ones that filter.short_class added; `current` is False where the
    others are not as many as the artifact's `sentences`: it was filtered before it changed.
    """
    added = [is_fill(row["source"]) for row in rows]
    reasons = Counter(row["reason"] for row in rows if row["reason"])
    return {
        "kept": sum(row["kept"] for row in rows),
        "filled": sum(added),
        "dropped": dict(sorted(reasons.items())),
        "current": len(rows) - sum(added) == sentences,
    }


def _tokens(rows: Sequence[Row], context: int) -> dict[str, float]:
    counts = [row["tokens"] for row in rows]
    over = {"over_77": CONTEXT, "over_context": context}
    return spread(counts) | {key: sum(c > most for c in counts) for key, most in over.items()}


def _class_rows(
    class_rows: ClassRows, verdicts: Mapping[str, Sequence[Cleaned]], classes: Sequence[ClassEntry]
) -> list[Row]:
    """One row per class, those of the class table first and in its order."""
    names = {class_entry.class_id: class_entry.name for class_entry in classes}
    names |= {key: rows[0]["class_name"] for key, rows in class_rows.items() if key not in names}
    lines = []
    for class_id, name in names.items():
        tokens = [row["tokens"] for row in class_rows.get(class_id, [])]
        lines.append(
            {
                "class_id": class_id,
                "name": name,
                "sentences": len(tokens),
                "clean": _kept(verdicts.get(class_id, [])),
                "min_tokens": min(tokens, default=None),
                "max_tokens": max(tokens, default=None),
            }
        )
    return lines


def _kept(verdicts: Sequence[Cleaned]) -> int:
    return sum(verdict.reason is None for verdict in verdicts)


def _counted(rows: Sequence[Row], *keys: str) -> list[Row]:
    """Sentences per value of `keys`, in the order in which the values first appear."""
    counts = Counter(tuple(row[key] for key in keys) for row in rows)
    return [dict(zip(keys, values, strict=True)) | {"sentences": n} for values, n in counts.items()]


def _remembering(rows: Sequence[Row], count_tokens: CountTokens) -> CountTokens:
    """The artifact's counts; a tokenizer takes seconds to load and is rarely needed."""
    known = {row["sentence"]: row["tokens"] for row in rows}

    def count(texts: Sequence[str]) -> list[int]:
        unknown = [text for text in dict.fromkeys(texts) if text not in known]
        if unknown:
            known.update(zip(unknown, count_tokens(unknown), strict=True))
        return [known[text] for text in texts]

    return count

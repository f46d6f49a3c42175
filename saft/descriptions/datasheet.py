"""Figures about a description artifact, for people who decide whether to use it.

Plain values throughout, so that the printed page and the JSON object cannot differ. `found`
is everywhere class id -> rows of pipeline.descriptions.artifact.SCHEMA, never without a sentence.
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

Row = dict[str, Any]
Found = Mapping[str, Sequence[Row]]
CONTEXT = 77  # tokens that OpenAI's CLIP models read, with start and end
# What `filter.cleaning` is in the committed params.yaml, for artifacts outside a project.
DEFAULT_CLEANING = CleaningParams(min_words=3, near_duplicate=0.95, too_long="shorten")


def datasheet(
    found: Found,
    classes: Sequence[ClassEntry] | None,
    cleaning: CleaningParams,
    context: int,
    count_tokens: CountTokens,
) -> dict[str, Any]:
    """Coverage, counts, lengths, repeats, what cleaning would drop, and a row per class.

    Args:
        classes: the class table; None: there is none to compare with.
        context: tokens that the text encoder reads.
        count_tokens: asked only for texts that cleaning changed; the others are counted
            in the artifact.
    """
    rows = list(chain.from_iterable(found.values()))
    counting = _remembering(rows, count_tokens)
    verdicts = {
        class_id: clean([row["sentence"] for row in own], cleaning, context, counting)
        for class_id, own in found.items()
    }
    return {
        "coverage": coverage(found, classes),
        "sentences": per_class({class_id: len(own) for class_id, own in found.items()}),
        "prompts": _counted(rows, "prompt_set", "prompt_id"),
        "sources": _counted(rows, "source"),
        "words": spread([len(row["sentence"].split()) for row in rows]),
        "tokens": _tokens(rows, context),
        "duplicates": duplicates(found, verdicts),
        "cleaning": cleaned(found, verdicts) | cleaning.model_dump() | {"context": context},
        "classes": _class_rows(found, verdicts, classes or []),
    }


def coverage(found: Found, classes: Sequence[ClassEntry] | None) -> dict[str, Any]:
    """How many classes are described, of how many; ids of `missing` and of `unknown` ones,
    which the class table does not have. Without a table, `of` and both lists are None."""
    if classes is None:
        return {"described": len(found), "of": None, "missing": None, "unknown": None}
    ids = dict.fromkeys(entry.class_id for entry in classes)
    missing = [class_id for class_id in ids if class_id not in found]
    unknown = [class_id for class_id in found if class_id not in ids]
    described = len(ids) - len(missing)
    return {"described": described, "of": len(ids), "missing": missing, "unknown": unknown}


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
    found = spread(list(counts.values()))
    return {"total": sum(counts.values()), "per_class": found, "fewest": fewest}


def duplicates(found: Found, verdicts: Mapping[str, Sequence[Cleaned]]) -> dict[str, Any]:
    """Repeats, the first one never counted.

    `exact`: equal to an earlier sentence of the class, letter by letter; `near`: the others
    that cleaning takes for repeats; `shared`: sentences that several classes have, and the
    `examples` with most classes.
    """
    exact, near = 0, 0
    homes: dict[str, dict[str, None]] = {}
    for class_id, own in found.items():
        seen: set[str] = set()
        for row, verdict in zip(own, verdicts[class_id], strict=True):
            text = row["sentence"]
            if text in seen:
                exact += 1
            elif verdict.reason in ("duplicate", "near_duplicate"):
                near += 1
            seen.add(text)
            homes.setdefault(text, {})[class_id] = None
    return {"exact": exact, "near": near, "shared": _shared(homes)}


def cleaned(found: Found, verdicts: Mapping[str, Sequence[Cleaned]]) -> dict[str, Any]:
    """What cleaning would leave and shorten, and per reason code what it would drop: the
    number of sentences and the first of them."""
    dropped: dict[str, dict[str, Any]] = {}
    for class_id, own in found.items():
        for row, verdict in zip(own, verdicts[class_id], strict=True):
            if verdict.reason:
                first = {"class_id": class_id, "sentence": row["sentence"]}
                entry = dropped.setdefault(verdict.reason, {"sentences": 0, "example": first})
                entry["sentences"] += 1
    return {
        "left": per_class({class_id: _left(own) for class_id, own in verdicts.items()}),
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


def _shared(homes: Mapping[str, Mapping[str, None]]) -> dict[str, Any]:
    shared = [(text, list(ids)) for text, ids in homes.items() if len(ids) > 1]
    shared.sort(key=lambda entry: (-len(entry[1]), entry[0]))
    return {
        "sentences": len(shared),
        "classes": len(set(chain.from_iterable(ids for _, ids in shared))),
        "examples": [{"sentence": text, "classes": ids} for text, ids in shared[:3]],
    }


def _class_rows(
    found: Found, verdicts: Mapping[str, Sequence[Cleaned]], classes: Sequence[ClassEntry]
) -> list[Row]:
    """One row per class, those of the class table first and in its order."""
    names = {entry.class_id: entry.name for entry in classes}
    names |= {key: own[0]["class_name"] for key, own in found.items() if key not in names}
    rows = []
    for class_id, name in names.items():
        tokens = [row["tokens"] for row in found.get(class_id, [])]
        rows.append(
            {
                "class_id": class_id,
                "name": name,
                "sentences": len(tokens),
                "clean": _left(verdicts.get(class_id, [])),
                "min_tokens": min(tokens, default=None),
                "max_tokens": max(tokens, default=None),
            }
        )
    return rows


def _left(verdicts: Sequence[Cleaned]) -> int:
    return sum(verdict.reason is None for verdict in verdicts)


def _counted(rows: Sequence[Row], *keys: str) -> list[Row]:
    """Sentences per value of `keys`, in the order in which the values first appear."""
    counts = Counter(tuple(row[key] for key in keys) for row in rows)
    return [dict(zip(keys, values, strict=True)) | {"sentences": n} for values, n in counts.items()]


def _remembering(rows: Sequence[Row], count_tokens: CountTokens) -> CountTokens:
    """The artifact's own counts; a tokenizer takes seconds to load and is seldom needed."""
    known = {row["sentence"]: row["tokens"] for row in rows}

    def count(texts: Sequence[str]) -> list[int]:
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        if fresh:
            known.update(zip(fresh, count_tokens(fresh), strict=True))
        return [known[text] for text in texts]

    return count

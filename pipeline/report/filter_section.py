"""What the report says about the filter: counts, reasons, fills, close calls, sentences.

Rows are those of data/filtered/descriptions.parquet, in its order. A fill is a row that was not
written for its class: the template, or a repeated sentence of the class. Fills take slots but
are not sentences, so they are counted separately.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.descriptions.sources import REPEATED, TEMPLATE
from pipeline.report.labels import labels_view
from pipeline.report.training import FilterSettings
from pipeline.report.training_figures import score_histogram

Row = dict[str, Any]
SAMPLE_CLASSES = 3  # classes whose sentences are shown without unfolding the full list
LOWEST = 8  # classes in the table of close calls
MISSING = "–"
REASONS = {  # in the order in which the filter looks; braces are its settings
    "empty": "nothing but white space, markup or numbering",
    "language": "another language than English",
    "refusal": "the language model declines to answer",
    "meta": "is about the answer, not about the class",
    "link": "an address, or a place where an image was",
    "template": "a form that was not filled in",
    "code": "program text",
    "instruction": "tells the reader to do something",
    "first_person": "is about the writer",
    "question": "a question",
    "definition": "a dictionary's line about a word",
    "no_content": "says that there are features, and not which",
    "continuation": "goes on with the last word of the question",
    "cut_off": "ends inside a sentence",
    "fragment": "fewer than {min_words} words",
    "no_statement": "a name alone, or a clause that hangs on nothing",
    "several_sentences": "more than one sentence",
    "needs_name": "has a pronoun for the name of its class",
    "too_long": "longer than CLIP reads, and not shortened",
    "duplicate": "an earlier sentence of the class but for case and punctuation",
    "near_duplicate": "alike to an earlier sentence of the class by {near_duplicate} or more",
    "similarity": "its cosine is below {min_similarity}",
    "margin": "its margin is below {min_margin}",
    "rank": "passed every check, but {top_k} others of its class were preferred",
}
# Told only where they occur: a list of all that did not would hide the others.
RARE_REASONS = frozenset(
    {
        *("language", "link", "template", "code", "instruction", "first_person", "question"),
        *("definition", "no_content", "continuation", "cut_off", "no_statement"),
        *("several_sentences", "needs_name"),
    }
)


def filter_view(
    rows: Sequence[Row],
    settings: FilterSettings,
    provenance: Mapping[str, Any],
    labelled: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """The section as the template reads it; labelled: rows of pipeline.report.labels."""
    labels = class_labels(rows)
    marked = [_mark(row) for row in rows]
    sentences = [row for row in marked if row["fill"] is None]
    classes = _by_class(marked, labels)
    used = {row["reason"] for row in sentences}
    count = min(SAMPLE_CLASSES, len(classes))
    return {
        "settings": settings,
        "origin": origin(provenance),
        "classes": classes,
        "sample": [classes[i * len(classes) // count] for i in range(count)],
        "reasons": reason_counts(sentences, settings),
        "unused": [code for code in REASONS if code not in used | RARE_REASONS],
        "fills": fills(classes),
        "slots": sum(row["kept"] for row in marked),
        "lowest": lowest_margins(sentences, labels),
        "histogram": histogram(sentences, settings),
        "labels": labels_view(sentences, labelled),
        **_counts(sentences),
        **_planted_counts(sentences, labels),
    }


def class_labels(rows: Sequence[Row]) -> dict[str, str]:
    """Class id -> name, with the id behind it where two classes share a name (crane, crane)."""
    names = {row["class_id"]: row["class_name"] for row in rows}
    shared = Counter(names.values())
    return {key: name if shared[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def reason_counts(rows: Sequence[Row], settings: FilterSettings) -> list[tuple[str, int, str]]:
    """(code, sentences, explanation) of the reasons that occur, in the filter's order."""
    counts = Counter(row["reason"] for row in rows if not row["kept"])
    codes = [*REASONS, *sorted(code for code in counts if code not in REASONS)]
    numbers = settings.model_dump() | settings.cleaning.model_dump()
    values = {key: number(value) for key, value in numbers.items()}
    return [
        (code, counts[code], REASONS.get(code, "").format_map(values))
        for code in codes
        if counts[code]
    ]


def fills(classes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The classes with slots that no sentence of their own fills, and how many of each kind."""
    filled = []
    for class_view in classes:
        kinds = Counter(row["fill"] for row in class_view["rows"])
        if kinds["template"] or kinds["repeated"]:
            counts = {kind: kinds[kind] for kind in ("template", "repeated")}
            filled.append({"name": class_view["name"], **counts})
    return filled


def lowest_margins(rows: Sequence[Row], labels: Mapping[str, str]) -> list[Row]:
    """The kept sentence with the lowest margin of each class, for the LOWEST lowest classes."""
    worst: dict[str, Row] = {}
    for row in rows:
        if row["kept"] and row["margin"] is not None:
            lower = worst.setdefault(row["class_id"], row)
            worst[row["class_id"]] = row if row["margin"] < lower["margin"] else lower
    ordered = sorted(worst.values(), key=lambda row: row["margin"])[:LOWEST]
    return [
        {
            **row,
            "name": labels[row["class_id"]],
            "nearest": labels.get(row["nearest_class"], row["nearest_class"]),
        }
        for row in ordered
    ]


def histogram(rows: Sequence[Row], settings: FilterSettings) -> str | None:
    """Data URI of the cosines, kept against dropped; None where nothing was scored."""
    scored = [row for row in rows if row["score"] is not None]
    if not scored:
        return None
    kept, dropped = (
        np.array([row["score"] for row in scored if row["kept"] == side], dtype=np.float64)
        for side in (True, False)
    )
    return score_histogram(kept, dropped, settings.min_similarity)


def origin(provenance: Mapping[str, Any]) -> str:
    """Backend, what sentences without knowledge of the class are made of, model and questions of
    provenance.json in one line, as far as it tells them."""
    sampling = provenance.get("sampling")
    sampling_values = sampling if isinstance(sampling, dict) else {}
    parts = {
        "backend": provenance.get("backend"),
        "made of": provenance.get("content"),
        "model": provenance.get("model") or sampling_values.get("model"),
        "revision": provenance.get("revision"),
        "commit": str(provenance.get("commit") or "")[:12],
        "file": provenance.get("file"),
        "prompt set": provenance.get("prompts"),
        "version": provenance.get("prompts_version"),
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value)


def number(value: object) -> str:
    """A setting as text, with a real minus sign."""
    return str(value).replace("-", "\u2212")


def decimal(value: float | None) -> str:
    """A cosine: 0.8127 -> "0.813", -0.02 -> "−0.020", None -> a dash."""
    return MISSING if value is None else number(f"{value:.3f}")


def signed(value: float | None) -> str:
    """A margin: 0.0123 -> "+0.012", -0.02 -> "−0.020", None -> a dash."""
    return MISSING if value is None else number(f"{value:+.3f}")


def _mark(row: Row) -> Row:
    """The row with `planted` (put among the descriptions on purpose, to see whether the filter
    drops it), `fill` (template, repeated or None) and `verdict`."""
    source, kept = row["source"], row["kept"]
    repeated = "repeated" if source.endswith(REPEATED) else None
    fill = "template" if source == TEMPLATE else repeated
    verdict = f"filled: {fill}" if fill else "kept" if kept else f"dropped: {row['reason']}"
    return {**row, "planted": "planted" in source, "fill": fill, "verdict": verdict}


def _by_class(rows: Sequence[Row], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Classes in the table's order: name, rows, and the counts of its own sentences."""
    grouped: dict[str, list[Row]] = {key: [] for key in labels}
    for row in rows:
        grouped[row["class_id"]].append(row)
    return [
        {
            "name": labels[key],
            "rows": class_rows,
            **_counts([row for row in class_rows if not row["fill"]]),
        }
        for key, class_rows in grouped.items()
    ]


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    kept = [row for row in rows if row["kept"]]
    return {
        "total": len(rows),
        "kept": len(kept),
        "dropped": len(rows) - len(kept),
        "shortened": sum(row["shortened"] for row in kept),
        "unscored": sum(row["score"] is None for row in rows),
        "elsewhere": sum(row["margin"] is not None and row["margin"] < 0 for row in kept),
    }


def _planted_counts(rows: Sequence[Row], labels: Mapping[str, str]) -> dict[str, Any]:
    planted = [row for row in rows if row["planted"]]
    others = [row for row in rows if not row["planted"]]
    through = [row for row in planted if row["kept"]]
    return {
        "planted": len(planted),
        "planted_dropped": len(planted) - len(through),
        "planted_kept": [{**row, "name": labels[row["class_id"]]} for row in through],
        "correct": len(others),
        "correct_dropped": sum(not row["kept"] for row in others),
    }

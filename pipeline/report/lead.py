"""The first paragraph: the reference, and the model that holds best under attack."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.results.accuracy import Accuracies, Row
from pipeline.results.evaluated import model_title
from pipeline.results.statistics import Paired, disjoint


def best_other(mean: Accuracies, reference: str) -> str | None:
    """The model but the reference with the highest mean under attack; None where there is none."""
    others = [model for model in mean if model != reference]
    return max(others, key=lambda model: mean[model]["robust"]) if others else None


def lead_view(
    sets: Sequence[dict[str, Any]], mean: Accuracies, reference: str, seen: Mapping[str, int]
) -> dict[str, Any]:
    """What the paragraph tells.

    Args:
        sets: see `set_view`.
        seen: by data set, how many of its classes were trained on; empty where nothing was.
    """
    rows_of_sets = {s["about"].dataset: {row.key: row for row in s["rows"]} for s in sets}
    best = best_other(mean, reference)
    robust = [rows["robust"] for rows in rows_of_sets.values()]
    intervals = [share.high - share.low for row in robust for share in row.shares.values()]
    return {
        "models": len(mean),
        "reference": {"name": reference, "title": model_title(reference), **mean[reference]},
        "best": best and {"name": best, "title": model_title(best), **mean[best]},
        "unseen": sum(count == 0 for count in seen.values()) if seen else None,
        "fewest": min(s["about"].images for s in sets),
        "widest": max(intervals) / 2,
        **(_changes(rows_of_sets, reference, best) if best else {}),
    }


def _changes(
    rows_of_sets: Mapping[str, Mapping[str, Row]], reference: str, best: str
) -> dict[str, Any]:
    """On how many data sets the best model is better or worse than the reference, and than all."""
    robust = [rows["robust"] for rows in rows_of_sets.values()]
    clean = {name: _change(rows["clean"], best) for name, rows in rows_of_sets.items()}
    worst = min(clean, key=lambda name: clean[name].difference)
    return {
        "robust_up": sum(_change(row, best).difference > 0 for row in robust),
        "robust_apart": sum(disjoint(row.shares[reference], row.shares[best]) for row in robust),
        "robust_first": sum(_is_first(row, best) for row in robust),
        "clean_down": sum(change.difference < 0 for change in clean.values()),
        "worst": worst,
        "worst_difference": clean[worst].difference,
    }


def _change(row: Row, model: str) -> Paired:
    change = row.changes[model]
    if change is None:
        raise ValueError(f"{model} is the reference")
    return change


def _is_first(row: Row, model: str) -> bool:
    """Whether no other model has as many images right."""
    others = [share.correct for name, share in row.shares.items() if name != model]
    return row.shares[model].correct > max(others)

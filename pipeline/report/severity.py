"""Mistake severity on the page and in reports/metrics.json, for image sets whose class ids are
wnids."""

from collections.abc import Sequence
from typing import Any

from pipeline.results.confidence import STATES
from pipeline.results.evaluated import EvaluatedSet
from pipeline.results.severity import Severity, severities

OfModels = dict[str, dict[str, Severity | None]]  # by model and state


def of_models(evaluated: EvaluatedSet) -> OfModels:
    """By model and state, None where it made no mistake; {} where the class ids are no wnids."""
    of_states = {state: severities(evaluated, state) for state in STATES}
    return {
        model: {state: measured[model] for state, measured in of_states.items() if measured}
        for model in of_states[STATES[0]] or {}
    }


def severity_numbers(measured: dict[str, Severity | None]) -> dict[str, dict[str, float]]:
    """By state {"wrong", "mean", "uniform"}, the last two rounded, and absent without a mistake."""
    return {
        state: {"wrong": s.wrong, "mean": round(s.mean, 4), "uniform": round(s.uniform, 4)}
        if s
        else {"wrong": 0}
        for state, s in measured.items()
    }


def severity_view(sets: Sequence[EvaluatedSet]) -> dict[str, Any]:
    """`of_models` by data set, where there is one, and the names of the other sets."""
    of_sets = {evaluated.about.dataset: of_models(evaluated) for evaluated in sets}
    return {
        "sets": {name: measured for name, measured in of_sets.items() if measured},
        "without": [name for name, measured in of_sets.items() if not measured],
    }

"""The section "Beyond accuracy": calibration, margins, the worst case over the text sets, the
severity of mistakes, and the classes that gained and lost the most. All of it under the first
epsilon; the worst case over the text sets aside, under the first text set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.clip.folders import FINETUNED
from pipeline.report.inputs import Inputs
from pipeline.report.reliability import reliability_figure
from pipeline.report.severity import of_models, severity_numbers, severity_view
from pipeline.results.accuracy import Accuracies, accuracies, verdicts
from pipeline.results.class_changes import class_changes, extremes
from pipeline.results.confidence import (
    STATES,
    calibrated_errors,
    calibration_errors,
    mean_margins,
)
from pipeline.results.evaluated import EvaluatedSet, model_title
from pipeline.results.paraphrases import worst_over_texts

CHANGED_MODELS = 3  # at most so many are compared with the reference class by class
CHANGED_CLASSES = 3  # of a set, gained and lost
OVER_TEXTS = ("clean", "robust")  # what the worst case over the text sets is told of


def beyond_metrics(sets: Sequence[EvaluatedSet]) -> dict[str, Any]:
    """By data set and model {"calibration": {"clean", "adversarial"}, "margin": the same}, rounded:
    the expected calibration error in 0..1 and the mean margin in logits; where the class ids are
    wnids also "severity", see `severity_numbers`."""
    return {evaluated.about.dataset: _set_metrics(evaluated) for evaluated in sets}


def _set_metrics(evaluated: EvaluatedSet) -> dict[str, dict[str, Any]]:
    measured, severity = _measured(evaluated), of_models(evaluated)
    return {
        model: {name: _rounded(of_states, model) for name, of_states in measured.items()}
        | ({"severity": severity_numbers(severity[model])} if severity else {})
        for model in evaluated.models
    }


def beyond_view(inputs: Inputs, mean: Accuracies, shown: Sequence[str]) -> dict[str, Any]:
    """What the template reads.

    Args:
        mean: of every model over the sets.
        shown: the models of the reliability figure.
    """
    cells = {e.about.dataset: _cells(e, _under_all_texts(inputs, e)) for e in inputs.sets}
    reference = inputs.params.reference
    return {
        "attack": inputs.sets[0].about.title,
        "texts": inputs.evaluate.texts,
        "sets": cells,
        "mean": _means(list(cells.values())) if len(cells) > 1 else {},
        "reliability": reliability_figure(inputs.sets, shown),
        "severity": severity_view(inputs.sets),
        "changes": [
            {
                "title": model_title(model),
                "sets": {e.about.dataset: _changes(e, reference, model) for e in inputs.sets},
            }
            for model in changed_models(mean, reference)
        ],
    }


def changed_models(mean: Accuracies, reference: str) -> list[str]:
    """The models that are compared with the reference class by class: the fine-tuned one, then
    those that hold best under attack."""
    others = [model for model in mean if model != reference]
    others.sort(key=lambda model: (model != FINETUNED, -mean[model]["robust"]))
    return others[:CHANGED_MODELS]


def _under_all_texts(inputs: Inputs, headline: EvaluatedSet) -> list[EvaluatedSet]:
    """The set under each text set at the epsilon of the headline, which is first."""
    about = headline.about
    return [headline] + [
        other
        for other in inputs.further
        if (other.about.dataset, other.about.epsilon_255) == (about.dataset, about.epsilon_255)
    ]


def _cells(evaluated: EvaluatedSet, of_texts: Sequence[EvaluatedSet]) -> dict[str, dict[str, Any]]:
    """By model, its row: floats by state under "error", "calibrated" and "margin", and by measure
    under "worst" and "headline", both {} where there is one text set."""
    measured, calibrated = _measured(evaluated), _by_state(evaluated, calibrated_errors)
    several = len(of_texts) > 1
    worst = {key: worst_over_texts(of_texts, key) for key in OVER_TEXTS} if several else {}
    headline = accuracies(evaluated)
    return {
        model: {
            "error": _of_model(measured["calibration"], model),
            "calibrated": _of_model(calibrated, model),
            "margin": _of_model(measured["margin"], model),
            "worst": {key: shares[model].value for key, shares in worst.items()},
            "headline": {key: headline[model][key] for key in worst},
        }
        for model in evaluated.models
    }


def _means(of_sets: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same rows, unweighted means over the sets. What a calibrated model stays below depends on
    the images of a set: it has no mean."""
    return {
        model: {
            name: {
                key: float(np.mean([cells[model][name][key] for cells in of_sets]))
                for key in values
            }
            for name, values in (row | {"calibrated": {}}).items()
        }
        for model, row in of_sets[0].items()
    }


def _changes(evaluated: EvaluatedSet, reference: str, model: str) -> dict[str, Any]:
    """The classes with the largest changes of robust accuracy from the reference to the model, and
    how many classes have an image."""
    right = verdicts(evaluated, "robust")
    labels = evaluated.attacks[0].predictions[model]["label"].to_numpy()
    names = [class_entry.name for class_entry in evaluated.classes]
    changes = class_changes(right[reference], right[model], labels, names)
    return {"compared": len(changes), **extremes(changes, CHANGED_CLASSES)._asdict()}


def _measured(evaluated: EvaluatedSet) -> dict[str, dict[str, dict[str, float]]]:
    """By name of the measure, state and model."""
    return {
        "calibration": _by_state(evaluated, calibration_errors),
        "margin": _by_state(evaluated, mean_margins),
    }


def _by_state(
    evaluated: EvaluatedSet, measure: Callable[[EvaluatedSet, str], dict[str, float]]
) -> dict[str, dict[str, float]]:
    return {state: measure(evaluated, state) for state in STATES}


def _of_model(of_states: Mapping[str, Mapping[str, float]], model: str) -> dict[str, float]:
    return {state: of_models[model] for state, of_models in of_states.items()}


def _rounded(of_states: Mapping[str, Mapping[str, float]], model: str) -> dict[str, float]:
    return {state: round(value, 4) for state, value in _of_model(of_states, model).items()}

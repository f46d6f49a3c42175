"""Which figures the page has: data URIs by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.report import curves, figures, training_figures
from pipeline.report.drawing import svg_uri
from pipeline.report.pareto import Point, clean_against_robust
from pipeline.report.training_log import MEASURES, validated_steps
from pipeline.results.accuracy import Accuracies, verdicts
from pipeline.results.evaluated import EvaluatedSet, model_title
from pipeline.results.statistics import accuracy_per_iterate
from pipeline.soundness.measurements import CheckMeasurements

MOST_DROPS = 3  # models whose clean and robust accuracy fit on one line per data set


def accuracy_figures(sets: Sequence[dict[str, Any]], mean: Accuracies) -> dict[str, str]:
    """Of all data sets: clean, robust, and what lies between them.

    Args:
        sets: see `set_view`.
    """
    titles = [model_title(model) for model in mean]
    shares = {
        key: {s["about"].dataset: list(_row(s, key).shares.values()) for s in sets}
        for key in ("clean", "robust")
    }
    labels = {"clean": "Accuracy, clean", "robust": "Accuracy, robust (worst case)"}
    charts = {
        key: figures.accuracy_chart(shares[key], titles, label) for key, label in labels.items()
    }
    if len(mean) > MOST_DROPS:
        points = [
            Point(model_title(model), values["clean"], values["robust"])
            for model, values in mean.items()
        ]
        return charts | {"drop": svg_uri(*clean_against_robust(points, "robust accuracy"))}
    pairs = {
        name: [(a.value, b.value) for a, b in zip(shares["clean"][name], values, strict=True)]
        for name, values in shares["robust"].items()
    }
    return charts | {"drop": figures.accuracy_drop(pairs, titles)}


def attack_figures(sets: Sequence[EvaluatedSet]) -> dict[str, str]:
    """By data set: along its first attack that tells its iterates; absent where none does."""
    drawn = {}
    for evaluated in sets:
        result = next((r for r in evaluated.attacks if r.about.budget > 1), None)
        if result is None:
            continue
        right, steps = verdicts(evaluated, "clean"), result.about.budget - 1
        of_models = [
            curves.Curve(
                model_title(model),
                accuracy_per_iterate(right[model], table["fooled_at"].to_numpy(), steps),
                float(right[model].mean()),
            )
            for model, table in result.predictions.items()
        ]
        name = evaluated.about.dataset
        drawn[name] = curves.attack_curves(f"{name}, {result.about.title}", of_models)
    return drawn


def epsilon_figures(checks: Sequence[CheckMeasurements]) -> dict[str, str]:
    """By data set: the measured accuracy of every model over epsilon."""
    of_sets: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for counts in checks:
        curve = [(epsilon, right / counts.images) for epsilon, right in counts.curve]
        of_sets.setdefault(counts.dataset, {})[model_title(counts.model)] = curve
    return {name: curves.epsilon_curves(name, of_set) for name, of_set in of_sets.items()}


def training_view(log: dict[str, np.ndarray]) -> dict[str, str]:
    """Of the training: losses, learning rate, accuracies where the method logs any, and those on
    the validation set where there is one."""
    validated = validated_steps(log)
    accuracies = [name for name in log if name.endswith("accuracy")]
    curves = [name for name in accuracies if name not in MEASURES]
    losses = [name for name in log if name not in ("step", "learning_rate", *accuracies)]
    result = {
        "losses": training_figures.loss_curves(log, losses),
        "learning_rate": training_figures.learning_rate_curve(log),
    }
    if curves:
        result["accuracies"] = training_figures.accuracy_curves(log, curves)
    if validated:
        result["validation"] = training_figures.validation_curves(validated)
    return result


def _row(of_set: dict[str, Any], key: str) -> Any:
    return next(row for row in of_set["rows"] if row.key == key)

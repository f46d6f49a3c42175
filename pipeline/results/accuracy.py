"""Accuracies of the report: per attack, and the worst case over all of them.

Measures of an image set, in the order of the tables:
    clean            right on the unperturbed image
    robust           right on it and at every iterate of every attack of evaluate.attacks
    <attack>         the same for one attack
    <attack>_last    right at its last iterate, as published tables count
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from pipeline.results.evaluated import MODELS, AttackResult, EvaluatedSet
from pipeline.results.statistics import Paired, Share, paired, wilson


class Row(NamedTuple):
    """One measure on one image set: both models' shares, and what changed between them on the
    images that both were measured on."""

    key: str
    label: str
    base: Share
    tuned: Share
    change: Paired


def measures(evaluated: EvaluatedSet) -> dict[str, str]:
    """Keys and labels of what was measured on the set, in the order of the tables."""
    labels = {"clean": "clean", "robust": "robust (worst case)"}
    for attack in evaluated.attacks:
        labels[attack.metrics.attack] = attack.metrics.title
    for attack in evaluated.attacks:
        if all(getattr(attack.metrics, model).robust_last for model in MODELS):
            labels[f"{attack.metrics.attack}_last"] = f"{attack.metrics.title}, last iterate"
    return labels


def verdicts(evaluated: EvaluatedSet, measure: str) -> dict[str, np.ndarray]:
    """bool verdicts of each model, on the images where both have one."""
    if measure == "clean":
        columns = [_clean(evaluated.attacks[0], model) for model in MODELS]
    elif measure == "robust":
        every = [
            [_column(result, model, "robust_any") for result in evaluated.attacks]
            for model in MODELS
        ]
        columns = [np.logical_and.reduce(flags) for flags in every]
    else:
        kind = "robust_last" if measure.endswith("_last") else "robust_any"
        result = _attacked(evaluated, measure.removesuffix("_last"))
        columns = [_column(result, model, kind) for model in MODELS]
    both = np.logical_and(*(column >= 0 for column in columns))
    return {model: column[both] > 0 for model, column in zip(MODELS, columns, strict=True)}


def rows(evaluated: EvaluatedSet) -> list[Row]:
    """The lines of the table of one image set."""
    result = []
    for key, label in measures(evaluated).items():
        right = verdicts(evaluated, key)
        base, tuned = (wilson(int(right[model].sum()), len(right[model])) for model in MODELS)
        result.append(Row(key, label, base, tuned, paired(right["base"], right["finetuned"])))
    return result


def accuracies(evaluated: EvaluatedSet, model: str) -> dict[str, float]:
    """Every measure taken on all images of the set, in 0..1: only those are comparable."""
    result = {}
    for key in measures(evaluated):
        right = verdicts(evaluated, key)[model]
        if len(right) == evaluated.metrics.images:
            result[key] = float(right.mean())
    return result


def means(evaluated_sets: list[EvaluatedSet]) -> dict[str, dict[str, float]]:
    """Per model the means over the sets, each counting the same whatever its size."""
    result: dict[str, dict[str, Any]] = {}
    for model in MODELS:
        accuracies_of_sets = [accuracies(evaluated, model) for evaluated in evaluated_sets]
        shared = [
            key
            for key in accuracies_of_sets[0]
            if all(key in values for values in accuracies_of_sets)
        ]
        result[model] = {
            key: float(np.mean([v[key] for v in accuracies_of_sets])) for key in shared
        }
    return result


def _attacked(evaluated: EvaluatedSet, attack: str) -> AttackResult:
    return next(result for result in evaluated.attacks if result.metrics.attack == attack)


def _clean(result: AttackResult, model: str) -> np.ndarray:
    table = result.predictions[model]
    return pc.equal(table["clean_prediction"], table["label"]).to_numpy().astype(np.int8)


def _column(result: AttackResult, model: str, name: str) -> np.ndarray:
    """int8: 1 right, 0 wrong, -1 not measured."""
    values = result.predictions[model][name].cast("int8")
    return values.fill_null(-1).to_numpy()

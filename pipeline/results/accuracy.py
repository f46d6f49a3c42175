"""Accuracies of the report: per attack, and the worst case over all of them.

Measures of an image set, in the order of the tables:
    clean            right on the unperturbed image
    robust           right on it and at every iterate of every attack of evaluate.attacks
    <attack>         the same for one attack
    <attack>_last    right at its last iterate, as published tables count
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from pipeline.results.evaluated import AttackResult, EvaluatedSet
from pipeline.results.statistics import Paired, Share, paired, wilson

Accuracies = dict[str, dict[str, float]]  # model -> measure -> share in 0..1


class Row(NamedTuple):
    """One measure on one image set: every model's share, and what changes from the reference model
    to it on the images that all were measured on (None for the reference itself)."""

    key: str
    label: str
    shares: dict[str, Share]
    changes: dict[str, Paired | None]


def measures(evaluated: EvaluatedSet) -> dict[str, str]:
    """Keys and labels of what was measured on the set, in the order of the tables."""
    labels = {"clean": "clean", "robust": "robust (worst case)"}
    for attack in evaluated.attacks:
        labels[attack.about.attack] = attack.about.title
    for attack in evaluated.attacks:
        if all(metrics.robust_last for metrics in attack.metrics.values()):
            labels[f"{attack.about.attack}_last"] = f"{attack.about.title}, last iterate"
    return labels


def verdicts(evaluated: EvaluatedSet, measure: str) -> dict[str, np.ndarray]:
    """bool verdicts of each model, on the images where all have one."""
    columns = {model: _verdicts(evaluated, measure, model) for model in evaluated.models}
    measured = np.logical_and.reduce([column >= 0 for column in columns.values()])
    return {model: column[measured] > 0 for model, column in columns.items()}


def rows(evaluated: EvaluatedSet, reference: str) -> list[Row]:
    """The lines of the table of one image set; `reference`: the model of the paired tests."""
    result = []
    for key, label in measures(evaluated).items():
        right = verdicts(evaluated, key)
        shares = {model: wilson(int(flags.sum()), len(flags)) for model, flags in right.items()}
        changes = {
            model: None if model == reference else paired(right[reference], flags)
            for model, flags in right.items()
        }
        result.append(Row(key, label, shares, changes))
    return result


def accuracies(evaluated: EvaluatedSet) -> Accuracies:
    """Every measure taken on all images of the set: only those are comparable."""
    result: Accuracies = {model: {} for model in evaluated.models}
    for key in measures(evaluated):
        for model, right in verdicts(evaluated, key).items():
            if len(right) == evaluated.about.images:
                result[model][key] = float(right.mean())
    return result


def means(accuracies_of_sets: Sequence[Accuracies]) -> Accuracies:
    """Per model the means over the sets, each counting the same whatever its size."""
    first = next(iter(accuracies_of_sets[0].values()))
    shared = [
        key
        for key in first
        if all(key in values for of_set in accuracies_of_sets for values in of_set.values())
    ]
    return {
        model: {
            key: float(np.mean([of_set[model][key] for of_set in accuracies_of_sets]))
            for key in shared
        }
        for model in accuracies_of_sets[0]
    }


def _verdicts(evaluated: EvaluatedSet, measure: str, model: str) -> np.ndarray:
    """int8 of every image: 1 right, 0 wrong, -1 not measured."""
    if measure == "clean":
        table = evaluated.attacks[0].predictions[model]
        return pc.equal(table["clean_prediction"], table["label"]).to_numpy().astype(np.int8)
    if measure == "robust":
        every = [_column(result, model, "robust_any") for result in evaluated.attacks]
        return np.minimum.reduce(every)
    kind = "robust_last" if measure.endswith("_last") else "robust_any"
    return _column(_attacked(evaluated, measure.removesuffix("_last")), model, kind)


def _attacked(evaluated: EvaluatedSet, attack: str) -> AttackResult:
    return next(result for result in evaluated.attacks if result.about.attack == attack)


def _column(result: AttackResult, model: str, name: str) -> np.ndarray:
    """int8: 1 right, 0 wrong, -1 not measured."""
    values = result.predictions[model][name].cast("int8")
    return values.fill_null(-1).to_numpy()

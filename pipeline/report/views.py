"""Parts of the page as its template reads them: image sets, means, other texts and epsilons, threat
model."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pipeline.report.inputs import Inputs
from pipeline.results.accuracy import Accuracies, accuracies, means, measures, rows
from pipeline.results.evaluated import EvaluatedSet, model_title
from pipeline.results.metrics import NORMS, options_text
from pipeline.results.same_texts import same_texts_remark

SPACES = {
    "model": "the model’s input pixels",
    "native": "the pixels of the images as packed, which the model resizes",
}


def models_of(names: Sequence[str], reference: str) -> list[dict[str, Any]]:
    """The models as the tables name them; `other`: not the reference of the paired tests."""
    return [
        {"name": name, "title": model_title(name), "other": name != reference} for name in names
    ]


def set_view(evaluated: EvaluatedSet, reference: str, seen: int | None) -> dict[str, Any]:
    """One data set as the template reads it.

    Args:
        seen: how many of its classes were trained on; None where nothing was.
    """
    about = evaluated.about
    return {
        "about": about,
        "epsilon": _epsilon(evaluated),
        "rows": rows(evaluated, reference),
        "notes": [f"{r.about.title}: {r.notes}" for r in evaluated.attacks if r.notes],
        "texts": about.texts,
        "attacker": about.attacker,
        "same_texts": same_texts_remark(
            about.dataset, about.texts.name, about.texts.templates, evaluated.classes
        ),
        "seen": seen,
    }


def mean_view(sets: Sequence[EvaluatedSet]) -> dict[str, Any]:
    """The unweighted means over the sets: labels of the measures that all of them have, and per
    model the shares."""
    mean = means([accuracies(evaluated) for evaluated in sets])
    shared = next(iter(mean.values()))
    labels = {key: label for key, label in measures(sets[0]).items() if key in shared}
    return {"labels": labels, "models": mean}


def matrix_view(sets: Sequence[EvaluatedSet]) -> dict[str, Any]:
    """Clean and robust accuracy with a row per model and a column per set."""
    of_sets = {evaluated.about.dataset: accuracies(evaluated) for evaluated in sets}
    return {
        label: {
            model: {name: values[model][key] for name, values in of_sets.items()}
            for model in sets[0].models
        }
        for key, label in (("robust", "Robust (worst case)"), ("clean", "Clean"))
    }


def further_view(inputs: Inputs, seen: Mapping[str, int]) -> list[dict[str, Any]]:
    """The results under every other pair of text set and epsilon, pair by pair."""

    def pair(evaluated: EvaluatedSet) -> tuple[str, str]:
        return evaluated.about.texts.name, _epsilon(evaluated)

    groups = [(key, list(sets)) for key, sets in groupby(inputs.further, pair)]
    return [
        {
            "title": f"texts “{texts}”, ε = {epsilon}",
            "sets": [
                set_view(evaluated, inputs.params.reference, seen.get(evaluated.about.dataset))
                for evaluated in sets
            ],
            "mean": mean_view(sets),
        }
        for (texts, epsilon), sets in groups
    ]


def epsilon_view(inputs: Inputs) -> dict[str, Any] | None:
    """Accuracy over epsilon under the first text set: by data set, and their mean where there are
    several, and by model, clean and the robust share at each radius; None for one radius."""
    if len(inputs.evaluate.epsilons_255) == 1:
        return None
    of_radii: dict[float, dict[str, Accuracies]] = {}
    for evaluated in [*inputs.sets, *inputs.further]:
        if evaluated.about.texts.name == inputs.evaluate.texts[0]:
            of_sets = of_radii.setdefault(evaluated.about.epsilon_255, {})
            of_sets[evaluated.about.dataset] = accuracies(evaluated)
    radii, names = sorted(of_radii), [evaluated.about.dataset for evaluated in inputs.sets]
    mean = _over_epsilon([means(list(of_radii[radius].values())) for radius in radii])
    return {
        "radii": [f"{radius:g}/255" for radius in radii],
        "mean": {f"mean over the {len(names)} sets": mean} if len(names) > 1 else {},
        "sets": {
            name: _over_epsilon([of_radii[radius][name] for radius in radii]) for name in names
        },
    }


def _over_epsilon(values: Sequence[Accuracies]) -> dict[str, list[float]]:
    """By model: clean, then the robust share of each of `values`."""
    return {
        model: [values[0][model]["clean"], *(at_radius[model]["robust"] for at_radius in values)]
        for model in values[0]
    }


def threat_view(evaluated: EvaluatedSet) -> dict[str, Any]:
    """What the attacker may do; the same for every set but for the text and the pixels."""
    about = evaluated.about
    return {
        "norm": NORMS.get(about.norm, about.norm),
        "epsilon": _epsilon(evaluated),
        "space": SPACES.get(about.space, about.space),
        "pixels": about.pixels,
        "precision": about.precision,
        "seed": about.seed,
        "attacks": [
            {"title": result.about.title, "options": options_text(result.about)}
            for result in evaluated.attacks
        ],
    }


def _epsilon(evaluated: EvaluatedSet) -> str:
    return f"{evaluated.about.epsilon_255:g}/255"

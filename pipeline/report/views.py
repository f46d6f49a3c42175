"""Parts of the page as its template reads them: image sets, threat model, figures, examples."""

from typing import Any

import pyarrow.compute as pc

from pipeline.common.errors import UserError
from pipeline.report import figures, training_figures
from pipeline.report.drawing import picture
from pipeline.report.inputs import Inputs
from pipeline.results.accuracy import rows, verdicts
from pipeline.results.evaluated import MODELS, NORMS, EvaluatedSet, options_text
from pipeline.results.files import EVALUATION
from pipeline.results.statistics import accuracy_per_iterate, disjoint
from pipeline.soundness.checks import TITLES

SPACES = {
    "model": "the model’s input pixels",
    "native": "the pixels of the images as packed, which the model resizes",
}


def set_view(evaluated: EvaluatedSet, examples: int) -> dict[str, Any]:
    """One data set as the template reads it."""
    notes = [f.metrics for f in evaluated.attacks if f.metrics.note]
    return {
        "metrics": evaluated.metrics,
        "epsilon": f"{evaluated.metrics.epsilon_255:g}/255",
        "rows": rows(evaluated),
        "notes": [f"{noted.title}: {noted.note}" for noted in notes],
        "texts": evaluated.metrics.texts,
        "attacker": evaluated.metrics.attacker,
        "curve": _attack_curve(evaluated),
        "examples": [_example(evaluated, index) for index in range(examples)[: _kept(evaluated)]],
        "amplified": _amplification(evaluated.metrics.epsilon_255),
    }


def threat_view(evaluated: EvaluatedSet) -> dict[str, Any]:
    """What the attacker may do; the same for every set but for the text and the pixels."""
    metrics = evaluated.metrics
    return {
        "norm": NORMS.get(metrics.norm, metrics.norm),
        "epsilon": f"{metrics.epsilon_255:g}/255",
        "space": SPACES.get(metrics.space, metrics.space),
        "pixels": metrics.pixels,
        "precision": metrics.precision,
        "seed": metrics.seed,
        "attacks": [
            {"title": result.metrics.title, "options": options_text(result.metrics)}
            for result in evaluated.attacks
        ],
    }


def summary_view(sets: list[dict[str, Any]]) -> dict[str, Any]:
    """What the first paragraph counts: the data sets on which an accuracy rose or fell."""
    rows_of_sets = [{row.key: row for row in s["rows"]} for s in sets]
    robust, clean = ([rows[key] for rows in rows_of_sets] for key in ("robust", "clean"))
    worst = min(range(len(sets)), key=lambda i: clean[i].change.difference)
    return {
        "robust_up": sum(row.change.difference > 0 for row in robust),
        "robust_apart": sum(disjoint(row.base, row.tuned) for row in robust),
        "clean_down": sum(row.change.difference < 0 for row in clean),
        "worst": sets[worst]["metrics"].dataset,
        "worst_difference": clean[worst].change.difference,
        "unseen": sum(s["metrics"].seen_in_training == 0 for s in sets),
        "fewest": min(s["metrics"].images for s in sets),
        "widest": max(max(s.high - s.low for s in (r.base, r.tuned)) for r in robust) / 2,
    }


def figure_view(sets: list[dict[str, Any]], inputs: Inputs) -> dict[str, str]:
    """Data URIs of the figures over all data sets, of the checks and of the training."""
    training = inputs.training
    curves = [name for name in training if name.endswith("accuracy")]
    losses = [n for n in training if n not in ("step", "learning_rate", *curves)]
    names = [s["metrics"].dataset for s in sets]
    rows_of_sets = [{row.key: row for row in s["rows"]} for s in sets]
    drops = [
        figures.AccuracyDrop(
            name, *(getattr(r[k], m).value for k in ("clean", "robust") for m in ("base", "tuned"))
        )
        for name, r in zip(names, rows_of_sets, strict=True)
    ]
    result = {"drop": figures.accuracy_drop(drops)}
    for key, title in (("clean", "clean"), ("robust", "robust (worst case)")):
        bars = [
            figures.AccuracyBar(n, r[key].base, r[key].tuned)
            for n, r in zip(names, rows_of_sets, strict=True)
        ]
        result[key] = figures.accuracy_bars(bars, f"Accuracy, {title}")
    result["losses"] = training_figures.loss_curves(training, losses)
    result["learning_rate"] = training_figures.learning_rate_curve(training)
    if curves:
        result["accuracies"] = training_figures.accuracy_curves(training, curves)
    return result | {
        f"epsilon {c.dataset}": figures.epsilon_curve(
            c.dataset, *([(e, n / k.images) for e, n in k.curve] for k in (c.base, c.finetuned))
        )
        for c in inputs.checks
    }


def _attack_curve(evaluated: EvaluatedSet) -> str | None:
    """Of the first attack that tells its iterates; None where none does."""
    result = next((f for f in evaluated.attacks if f.metrics.budget > 1), None)
    if result is None:
        return None
    right = verdicts(evaluated, "clean")
    curves = [
        accuracy_per_iterate(
            right[m], result.predictions[m]["fooled_at"].to_numpy(), result.metrics.budget - 1
        )
        for m in MODELS
    ]
    clean = (float(right["base"].mean()), float(right["finetuned"].mean()))
    name = f"{evaluated.metrics.dataset}, {result.metrics.title}"
    return figures.attack_curve(name, curves[0], curves[1], clean)


def _kept(evaluated: EvaluatedSet) -> int:
    return len(evaluated.examples["numbers"])


def _amplification(epsilon_255: float) -> int:
    """The largest whole factor that keeps a perturbation of epsilon around mid-grey."""
    return max(1, int(127 // max(1, epsilon_255)))


def _example(evaluated: EvaluatedSet, index: int) -> dict[str, Any]:
    """Pictures and predicted classes of example `index`, for both models."""
    number, clean = int(evaluated.examples["numbers"][index]), evaluated.examples["clean"][index]
    models = []
    for model, title in TITLES.items():
        table = evaluated.attacks[0].predictions[model]
        row_index = pc.index(table["number"], number).as_py()
        if row_index < 0:
            metrics = evaluated.metrics
            folder = EVALUATION / metrics.dataset / metrics.texts.name / metrics.attack
            raise UserError(f"{folder / 'examples.safetensors'}: image {number} has no prediction")
        row = table.slice(row_index, 1).to_pylist()[0]
        change = evaluated.examples[model][index]
        models.append(
            {
                "title": title,
                "clean": evaluated.classes[row["clean_prediction"]],
                "clean_right": row["clean_prediction"] == row["label"],
                "change": picture(0.5 + _amplification(evaluated.metrics.epsilon_255) * change),
                "attacked": picture(clean + change),
                "prediction": evaluated.classes[row["adversarial_prediction"]],
                "right": row["adversarial_prediction"] == row["label"],
                "fooled_at": row["fooled_at"],
            }
        )
        label = evaluated.classes[row["label"]]
    return {"number": number, "label": label, "clean": picture(clean), "models": models}

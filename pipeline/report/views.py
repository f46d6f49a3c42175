"""Parts of the page as its template reads them: image sets, threat model, figures, examples."""

from typing import Any

import pyarrow.compute as pc

from pipeline.common.errors import UserError
from pipeline.report import figures
from pipeline.report.inputs import Inputs
from pipeline.results.accuracy import rows, verdicts
from pipeline.results.evaluated import MODELS, NORMS, Evaluated, options_text
from pipeline.results.files import EVALUATION
from pipeline.results.statistics import disjoint, survivors
from pipeline.soundness.verdicts import TITLES

SPACES = {
    "model": "the model’s input pixels",
    "native": "the pixels of the images as packed, which the model resizes",
}


def set_view(entry: Evaluated, examples: int) -> dict[str, Any]:
    """One data set as the template reads it."""
    notes = [f.metrics for f in entry.attacks if f.metrics.note]
    return {
        "found": entry.metrics,
        "epsilon": f"{entry.metrics.epsilon_255:g}/255",
        "rows": rows(entry),
        "notes": [f"{found.title}: {found.note}" for found in notes],
        "texts": entry.metrics.texts,
        "attacker": entry.metrics.attacker,
        "curve": _attack_curve(entry),
        "examples": [_example(entry, place) for place in range(examples)[: _kept(entry)]],
        "amplified": _amplification(entry.metrics.epsilon_255),
    }


def threat_view(entry: Evaluated) -> dict[str, Any]:
    """What the attacker may do; the same for every set but for the text and the pixels."""
    found = entry.metrics
    return {
        "norm": NORMS.get(found.norm, found.norm),
        "epsilon": f"{found.epsilon_255:g}/255",
        "space": SPACES.get(found.space, found.space),
        "pixels": found.pixels,
        "precision": found.precision,
        "seed": found.seed,
        "attacks": [
            {"title": attacked.metrics.title, "options": options_text(attacked.metrics)}
            for attacked in entry.attacks
        ],
    }


def summary_view(sets: list[dict[str, Any]]) -> dict[str, Any]:
    """What the first paragraph counts: the data sets on which an accuracy rose or fell."""
    found = [{row.key: row for row in s["rows"]} for s in sets]
    robust, clean = ([rows[key] for rows in found] for key in ("robust", "clean"))
    worst = min(range(len(sets)), key=lambda i: clean[i].change.difference)
    return {
        "robust_up": sum(row.change.difference > 0 for row in robust),
        "robust_apart": sum(disjoint(row.base, row.tuned) for row in robust),
        "clean_down": sum(row.change.difference < 0 for row in clean),
        "worst": sets[worst]["found"].dataset,
        "worst_difference": clean[worst].change.difference,
        "unseen": sum(s["found"].seen_in_training == 0 for s in sets),
        "fewest": min(s["found"].images for s in sets),
        "widest": max(max(s.high - s.low for s in (r.base, r.tuned)) for r in robust) / 2,
    }


def figure_view(sets: list[dict[str, Any]], inputs: Inputs) -> dict[str, str]:
    """Data URIs of the figures over all data sets, of the checks and of the training."""
    training = inputs.training
    curves = [name for name in training if name.endswith("accuracy")]
    losses = [n for n in training if n not in ("step", "learning_rate", *curves)]
    names = [s["found"].dataset for s in sets]
    found = [{row.key: row for row in s["rows"]} for s in sets]
    drops = [
        figures.Drop(
            name, *(getattr(r[k], m).value for k in ("clean", "robust") for m in ("base", "tuned"))
        )
        for name, r in zip(names, found, strict=True)
    ]
    result = {"drop": figures.accuracy_drop(drops)}
    for key, title in (("clean", "clean"), ("robust", "robust (worst case)")):
        bars = [
            figures.Bar(n, r[key].base, r[key].tuned) for n, r in zip(names, found, strict=True)
        ]
        result[key] = figures.accuracy_bars(bars, f"Accuracy, {title}")
    result["losses"] = figures.loss_curves(training, losses)
    result["learning_rate"] = figures.learning_rate_curve(training)
    if curves:
        result["accuracies"] = figures.accuracy_curves(training, curves)
    return result | {
        f"epsilon {c.dataset}": figures.epsilon_curve(
            c.dataset, *([(e, n / k.images) for e, n in k.curve] for k in (c.base, c.finetuned))
        )
        for c in inputs.checks
    }


def _attack_curve(entry: Evaluated) -> str | None:
    """Of the first attack that tells its iterates; None where none does."""
    found = next((f for f in entry.attacks if f.metrics.budget > 1), None)
    if found is None:
        return None
    right = verdicts(entry, "clean")
    curves = [
        survivors(right[m], found.predictions[m]["fooled_at"].to_numpy(), found.metrics.budget - 1)
        for m in MODELS
    ]
    clean = (float(right["base"].mean()), float(right["finetuned"].mean()))
    name = f"{entry.metrics.dataset}, {found.metrics.title}"
    return figures.attack_curve(name, curves[0], curves[1], clean)


def _kept(entry: Evaluated) -> int:
    return len(entry.examples["numbers"])


def _amplification(epsilon_255: float) -> int:
    """The largest whole factor that keeps a perturbation of epsilon around mid-grey."""
    return max(1, int(127 // max(1, epsilon_255)))


def _example(entry: Evaluated, place: int) -> dict[str, Any]:
    """Pictures and predicted classes of example `place`, for both models."""
    number, clean = int(entry.examples["numbers"][place]), entry.examples["clean"][place]
    models = []
    for model, title in TITLES.items():
        table = entry.attacks[0].predictions[model]
        index = pc.index(table["number"], number).as_py()
        if index < 0:
            found = entry.metrics
            folder = EVALUATION / found.dataset / found.texts.name / found.attack
            raise UserError(f"{folder / 'examples.safetensors'}: image {number} has no prediction")
        row = table.slice(index, 1).to_pylist()[0]
        change = entry.examples[model][place]
        models.append(
            {
                "title": title,
                "clean": entry.classes[row["clean_prediction"]],
                "clean_right": row["clean_prediction"] == row["label"],
                "change": figures.picture(0.5 + _amplification(entry.metrics.epsilon_255) * change),
                "attacked": figures.picture(clean + change),
                "prediction": entry.classes[row["adversarial_prediction"]],
                "right": row["adversarial_prediction"] == row["label"],
                "fooled_at": row["fooled_at"],
            }
        )
        label = entry.classes[row["label"]]
    return {"number": number, "label": label, "clean": figures.picture(clean), "models": models}

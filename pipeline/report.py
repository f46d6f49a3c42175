"""The report: what the earlier stages left, as one table of numbers and one HTML page.

Everything maps `Inputs` to values, without clock, host or random draw, so that the same
inputs give the same bytes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow.compute as pc

from pipeline import report_figures as figures
from pipeline.errors import UserError
from pipeline.params import PARAMS_FILE
from pipeline.paths import EVALUATION
from pipeline.report_inputs import MODELS, Accuracies, Evaluated, Inputs
from pipeline.report_sentences import decimal, filter_view, number, signed
from pipeline.statistics import disjoint, paired, survivors, wilson

METRICS = Path("reports/metrics.json")
ACCURACY = Path("reports/plots/accuracy.csv")
PAGE = Path("reports/report.html")
TEMPLATE = Path(__file__).with_name("report.html.j2")
MEASURES = {"clean": "clean", "robust_any": "robust (any)", "robust_last": "robust (last)"}


def metrics(inputs: Inputs) -> dict[str, Any]:
    """Accuracies per data set and model, and their unweighted means: clean, robust_any, and
    robust_last where it was measured on every image (`evaluate.robust: last`)."""
    datasets = {
        entry.metrics.dataset: {
            model: {key: round(value, 4) for key, value in _accuracies(entry, model).items()}
            for model in MODELS
        }
        for entry in inputs.sets
    }
    mean = {
        model: {key: round(value, 4) for key, value in values.items()}
        for model, values in means(inputs).items()
    }
    return {"datasets": datasets, "mean": mean}


def means(inputs: Inputs) -> dict[str, dict[str, float]]:
    """Means over the data sets, each counting the same whatever its size."""
    result = {}
    for model in MODELS:
        values = [_accuracies(entry, model) for entry in inputs.sets]
        shared = [key for key in MEASURES if all(key in found for found in values)]
        result[model] = {key: float(np.mean([found[key] for found in values])) for key in shared}
    return result


def accuracy_rows(inputs: Inputs) -> Iterator[list[Any]]:
    """Header and rows of reports/plots/accuracy.csv, which `dvc plots` draws."""
    yield ["series", "dataset", "model", "measure", "accuracy"]
    for entry in inputs.sets:
        dataset = entry.metrics.dataset
        for model in MODELS:
            for measure, share in _accuracies(entry, model).items():
                named = MEASURES[measure]
                series = f"{dataset} {model} {named}"
                yield [series, dataset, model, named, round(share, 4)]


def render(inputs: Inputs) -> str:
    """The page, self-contained; every text from the inputs is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "points": points, "p_value": p_value}
    environment.filters |= {"decimal": decimal, "signed": signed, "number": number}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    sets = [set_view(entry, inputs.params.examples) for entry in inputs.sets]
    return template.render(
        title=inputs.params.title,
        tuned_on=inputs.tuned_on,
        sets=sets,
        mean=means(inputs),
        summary=summary_view(sets),
        figures=figure_view(sets, inputs.training),
        filter=filter_view(inputs.sentences, inputs.filter, inputs.provenance),
        settings=[(key, flatten(value)) for key, value in inputs.settings.items()],
        params_file=PARAMS_FILE.name,
        provenance=flatten(inputs.provenance),
    )


def set_view(entry: Evaluated, examples: int) -> dict[str, Any]:
    """One data set as the template reads it."""
    found = entry.metrics
    step = f"{found.step_255:g}/255"
    return {
        "found": found,
        "attack": f"{found.attack.upper()}, {found.steps} steps of {step}",
        "epsilon": f"{found.epsilon_255}/255",
        "rows": [row for measure in MEASURES if (row := _row(entry, measure))],
        "curve": _attack_curve(entry),
        "examples": [_example(entry, place) for place in range(examples)[: _kept(entry)]],
        "amplified": _amplification(found.epsilon_255),
    }


def summary_view(sets: list[dict[str, Any]]) -> dict[str, Any]:
    """What the first paragraph counts: the data sets on which an accuracy rose or fell."""
    rows = {key: [row for s in sets for row in s["rows"] if row["key"] == key] for key in MEASURES}
    robust, clean = rows["robust_any"], rows["clean"]
    worst = min(range(len(sets)), key=lambda i: clean[i]["difference"])
    attacks = {f"{s['attack']}, ε = {s['epsilon']}" for s in sets}
    return {
        "attack": attacks.pop() if len(attacks) == 1 else "the attack named for each set",
        "robust_up": sum(row["difference"] > 0 for row in robust),
        "robust_apart": sum(disjoint(row["base"], row["tuned"]) for row in robust),
        "clean_down": sum(row["difference"] < 0 for row in clean),
        "worst": sets[worst]["found"].dataset,
        "worst_difference": clean[worst]["difference"],
        "unseen": sum(s["found"].seen_in_training == 0 for s in sets),
        "fewest": min(s["found"].images for s in sets),
        "widest": max(max(r[m].high - r[m].low for m in ("base", "tuned")) for r in robust) / 2,
    }


def figure_view(sets: list[dict[str, Any]], training: dict[str, np.ndarray]) -> dict[str, str]:
    """Data URIs of the figures over all data sets and of the training."""
    accuracies = [name for name in training if name.endswith("accuracy")]
    losses = [n for n in training if n not in ("step", "learning_rate", *accuracies)]
    names = [s["found"].dataset for s in sets]
    rows = [{row["key"]: row for row in s["rows"]} for s in sets]
    drops = [
        figures.Drop(
            name, *(r[k][m].value for k in ("clean", "robust_any") for m in ("base", "tuned"))
        )
        for name, r in zip(names, rows, strict=True)
    ]
    result = {"drop": figures.accuracy_drop(drops)}
    for key in ("clean", "robust_any"):
        bars = [
            figures.Bar(n, r[key]["base"], r[key]["tuned"])
            for n, r in zip(names, rows, strict=True)
        ]
        result[key] = figures.accuracy_bars(bars, f"Accuracy, {MEASURES[key]}")
    result["losses"] = figures.loss_curves(training, losses)
    result["learning_rate"] = figures.learning_rate_curve(training)
    if accuracies:
        result["accuracies"] = figures.accuracy_curves(training, accuracies)
    return result


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested dictionaries as (dotted key, text); lists and scalars as JSON, strings as such."""
    if isinstance(value, dict) and value:
        return [
            pair
            for key, inner in value.items()
            for pair in flatten(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return [(prefix, text)]


def percent(share: float) -> str:
    """0.613 -> "61.3 %", with a space that does not break."""
    return f"{100 * share:.1f}\u00a0%"


def points(difference: float) -> str:
    """-0.038 -> "−3.8", percentage points; never "−0.0"."""
    text = f"{100 * difference:+.1f}".replace("-", "\u2212")
    return "0.0" if text[1:] == "0.0" else text


def p_value(value: float) -> str:
    """0.0004 -> "p < 0.001", 0.0312 -> "p = 0.031"."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _accuracies(entry: Evaluated, model: str) -> dict[str, float]:
    found: Accuracies = getattr(entry.metrics, model)
    shares = {key: getattr(found, key) for key in MEASURES}
    return {
        key: share.correct / share.images
        for key, share in shares.items()
        if share is not None and share.images == entry.metrics.images
    }


def _verdicts(entry: Evaluated, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """bool verdicts of both models on the images where both have one."""
    columns = []
    for model in MODELS:
        table = entry.predictions[model]
        if measure == "clean":
            columns.append(pc.equal(table["clean_prediction"], table["label"]))
        else:
            columns.append(table[measure])
    both = np.logical_and(*(column.is_valid().to_numpy() for column in columns))
    base, tuned = (column.fill_null(False).to_numpy()[both] for column in columns)
    return base, tuned


def _row(entry: Evaluated, measure: str) -> dict[str, Any] | None:
    """One line of the table; None where the measure was not taken."""
    found = [getattr(getattr(entry.metrics, model), measure) for model in MODELS]
    base, tuned = _verdicts(entry, measure)
    if None in found or not len(base):
        return None
    shares = [wilson(share.correct, share.images) for share in found]
    return {
        "key": measure,
        "measure": MEASURES[measure],
        "base": shares[0],
        "tuned": shares[1],
        **paired(base, tuned)._asdict(),
    }


def _attack_curve(entry: Evaluated) -> str:
    right = dict(zip(MODELS, _verdicts(entry, "clean"), strict=True))
    curves = [
        survivors(right[m], entry.predictions[m]["fooled_at"].to_numpy(), entry.metrics.steps)
        for m in MODELS
    ]
    clean = (float(right["base"].mean()), float(right["finetuned"].mean()))
    return figures.attack_curve(entry.metrics.dataset, curves[0], curves[1], clean)


def _kept(entry: Evaluated) -> int:
    return len(entry.examples["numbers"])


def _amplification(epsilon_255: int) -> int:
    """The largest whole factor that keeps a perturbation of epsilon around mid-grey."""
    return max(1, 127 // max(1, epsilon_255))


def _example(entry: Evaluated, place: int) -> dict[str, Any]:
    """Pictures and predicted classes of example `place`, for both models."""
    number, clean = int(entry.examples["numbers"][place]), entry.examples["clean"][place]
    models = []
    for model, title in zip(MODELS, ("base", "fine-tuned"), strict=True):
        rows = entry.predictions[model]
        index = pc.index(rows["number"], number).as_py()
        if index < 0:
            folder = EVALUATION / entry.metrics.dataset
            raise UserError(f"{folder / 'examples.safetensors'}: image {number} has no prediction")
        row = rows.slice(index, 1).to_pylist()[0]
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

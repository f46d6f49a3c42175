"""The report: what the earlier stages left, as one table of numbers and one HTML page.

`read_inputs` is the only function that touches the disk; everything else maps its result to
values, without clock, host or random draw, so that the same inputs give the same bytes.
The data sets are those of params.yaml, never what happens to lie in the folder.
"""

import csv
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import report_figures as figures
from pipeline.errors import UserError
from pipeline.evaluate import PREDICTIONS
from pipeline.filter import SCHEMA as DESCRIPTIONS
from pipeline.images import check_labels, read_classes
from pipeline.params import PARAMS_FILE, Section, read_params, read_section, validate
from pipeline.statistics import disjoint, paired, survivors, wilson
from pipeline.tables import read_json, read_table

EVALUATION = Path("data/evaluation")
TRAINING = Path("data/model/training.csv")
FILTERED = Path("data/filtered/descriptions.parquet")
PROVENANCE = Path("data/descriptions/provenance.json")
METRICS = Path("reports/metrics.json")
ACCURACY = Path("reports/plots/accuracy.csv")
PAGE = Path("reports/report.html")
TEMPLATE = Path(__file__).with_name("report.html.j2")

MODELS = ("base", "finetuned")
MEASURES = {"clean": "clean", "robust_any": "robust (any)", "robust_last": "robust (last)"}
SAMPLE_CLASSES = 3  # classes whose sentences are shown without unfolding the full list


class ReportParams(Section):
    """Section `report` of params.yaml, where every key is explained."""

    title: str
    examples: int = Field(ge=0)


class _Evaluate(Section, extra="ignore"):
    datasets: list[str] = Field(min_length=1)


class _Finetune(Section, extra="ignore"):
    dataset: str


class Accuracy(Section, extra="ignore"):
    """`correct` of `images`."""

    correct: int = Field(ge=0)
    images: int = Field(ge=1)
    accuracy: float


class Accuracies(Section, extra="ignore"):
    """One model on one data set; robust_last is None where it was not measured."""

    clean: Accuracy
    robust_any: Accuracy
    robust_last: Accuracy | None


class Metrics(Section, extra="ignore"):
    """data/evaluation/<dataset>/metrics.json."""

    dataset: str
    images: int
    classes: int
    seen_in_training: int
    attack: str
    epsilon_255: int
    step_255: float
    steps: int
    seed: int
    templates: list[str]
    base: Accuracies
    finetuned: Accuracies


@dataclass(frozen=True)
class Evaluated:
    """One data set: its metrics, class names by label, per model the columns of PREDICTIONS
    sorted by image number (the same images in both), and the arrays of examples.npz."""

    metrics: Metrics
    classes: list[str]
    predictions: dict[str, pa.Table]
    examples: dict[str, np.ndarray]


@dataclass(frozen=True)
class Inputs:
    """All that the report is made of."""

    params: ReportParams
    settings: dict[str, Any]
    tuned_on: str
    sets: list[Evaluated]
    training: dict[str, np.ndarray]
    sentences: list[dict[str, Any]]
    provenance: dict[str, Any]


def read_inputs() -> Inputs:
    """Read params.yaml and every input named by it.

    Raises:
        UserError: a file is missing, malformed or does not fit the others.
    """
    params = read_section("report", ReportParams)
    provenance = read_json(PROVENANCE)
    if not isinstance(provenance, dict):
        raise UserError(f"{PROVENANCE}: expected a JSON object")
    return Inputs(
        params=params,
        settings=read_params(),
        tuned_on=read_section("finetune", _Finetune).dataset,
        sets=[read_evaluated(name) for name in read_section("evaluate", _Evaluate).datasets],
        training=read_training(TRAINING),
        sentences=read_table(FILTERED, DESCRIPTIONS).to_pylist(),
        provenance=provenance,
    )


def read_evaluated(name: str) -> Evaluated:
    """Read data/evaluation/<name>/ and the set's class names."""
    folder = EVALUATION / name
    metrics = validate(read_json(folder / "metrics.json"), Metrics, str(folder / "metrics.json"))
    classes = [entry.name for entry in read_classes(name)]
    path = folder / "predictions.parquet"
    table = read_table(path, PREDICTIONS).sort_by("number")
    for column in ("label", "clean_prediction", "adversarial_prediction"):
        check_labels(table[column].to_numpy(), len(classes), f"{path}: {column}")
    models = table["model"].to_numpy()
    predictions = {model: table.filter(models == model) for model in MODELS}
    numbers = [predictions[model]["number"] for model in MODELS]
    if numbers[0] != numbers[1] or len(numbers[0]) != metrics.images:
        raise UserError(f"{path}: not the {metrics.images} images of metrics.json for each model")
    return Evaluated(metrics, classes, predictions, read_examples(folder / "examples.npz"))


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """The arrays numbers (E,), clean, base and finetuned, each (E, 3, S, S)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("numbers", "clean", *MODELS)}
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a file of examples: {' '.join(str(error).split())}") from None
    shape = arrays["clean"].shape
    fits = len(shape) == 4 and shape[:2] == (len(arrays["numbers"]), 3)
    if not fits or any(arrays[model].shape != shape for model in MODELS):
        raise UserError(f"{path}: the arrays differ in their number or size of images")
    return arrays


def read_training(path: Path) -> dict[str, np.ndarray]:
    """Columns of the training log, float64, in the order of the file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        values = np.array([[float(cell) for cell in row] for row in rows])
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a table of numbers: {error}") from None
    if not {"step", "learning_rate", "loss"} <= set(header) or not len(values):
        raise UserError(f"{path}: expected rows under step, learning_rate, loss, ...")
    return {name: values[:, place] for place, name in enumerate(header)}


def metrics(inputs: Inputs) -> dict[str, Any]:
    """Clean and robust (any) accuracy per data set and model, and their unweighted means."""
    datasets = {
        entry.metrics.dataset: {
            model: {key: round(value, 4) for key, value in _accuracies(entry, model).items()}
            for model in MODELS
        }
        for entry in inputs.sets
    }
    return {"datasets": datasets, "mean": means(inputs)}


def means(inputs: Inputs) -> dict[str, dict[str, float]]:
    """Means over the data sets, each counting the same whatever its size."""
    result = {}
    for model in MODELS:
        values = [_accuracies(entry, model) for entry in inputs.sets]
        result[model] = {
            key: round(float(np.mean([v[key] for v in values])), 4) for key in ("clean", "robust")
        }
    return result


def accuracy_rows(inputs: Inputs) -> Iterator[list[Any]]:
    """Header and rows of reports/plots/accuracy.csv, which `dvc plots` draws."""
    yield ["dataset", "model", "measure", "accuracy"]
    for entry in inputs.sets:
        for model in MODELS:
            clean, robust = _accuracies(entry, model).values()
            yield [entry.metrics.dataset, model, MEASURES["clean"], round(clean, 4)]
            yield [entry.metrics.dataset, model, MEASURES["robust_any"], round(robust, 4)]


def render(inputs: Inputs) -> str:
    """The page, self-contained; every text from the inputs is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "points": points, "p_value": p_value}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    sets = [set_view(entry, inputs.params.examples) for entry in inputs.sets]
    return template.render(
        title=inputs.params.title,
        tuned_on=inputs.tuned_on,
        sets=sets,
        mean=means(inputs),
        summary=summary_view(sets),
        figures=figure_view(sets, inputs.training),
        filter=filter_view(inputs.sentences),
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
        "robust_clear": sum(
            r["difference"] > 0 and disjoint(r["base"], r["tuned"]) for r in robust
        ),
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


def filter_view(sentences: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts and the sentences per class, best first. `planted` marks those that were put
    among the descriptions on purpose, to see whether the filter drops them."""
    classes: dict[str, dict[str, Any]] = {}
    for row in sorted(sentences, key=lambda row: row["rank"]):
        row = {**row, "planted": "planted" in row["source"]}
        classes.setdefault(row["class_id"], {"name": row["name"], "rows": []})["rows"].append(row)
    ordered = [classes[key] for key in dict.fromkeys(row["class_id"] for row in sentences)]
    rows = [row for entry in ordered for row in entry["rows"]]
    planted = [row for row in rows if row["planted"]]
    dropped = [row for row in rows if not row["kept"]]
    count = min(SAMPLE_CLASSES, len(ordered))
    return {
        "classes": ordered,
        "sample": [ordered[i * len(ordered) // count] for i in range(count)],
        "total": len(rows),
        "dropped": len(dropped),
        "planted": len(planted),
        "planted_dropped": sum(not row["kept"] for row in planted),
        "planted_kept": [row for row in planted if row["kept"]],
        "correct": len(rows) - len(planted),
        "correct_dropped": sum(not row["planted"] for row in dropped),
    }


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
    shares = {"clean": found.clean, "robust": found.robust_any}
    return {key: share.correct / share.images for key, share in shares.items()}


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
            raise UserError(f"{folder / 'examples.npz'}: image {number} has no prediction")
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

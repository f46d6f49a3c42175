"""What the report is made of, read and checked: the only part that touches the disk.

The data sets are those of params.yaml, never what happens to lie in the folder.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipeline.errors import UserError
from pipeline.filtered import SCHEMA as DESCRIPTIONS
from pipeline.images import check_labels, read_classes
from pipeline.params import Section, read_params, read_section, validate
from pipeline.paths import CHECKS, EVALUATION, FILTERED, MODEL
from pipeline.predictions import PREDICTIONS
from pipeline.tables import read_json, read_table

TRAINING = MODEL / "training.csv"
PROVENANCE = Path("data/descriptions/provenance.json")
MODELS = ("base", "finetuned")


class ReportParams(Section):
    """Section `report` of params.yaml, where every key is explained."""

    title: str
    examples: int = Field(ge=0)


class EvaluateSettings(Section, extra="ignore"):
    """What the page needs of section `evaluate`; the evaluate stage checks the values."""

    datasets: list[str] = Field(min_length=1)
    attacks: list[str] = Field(min_length=1)
    texts: list[str] = Field(min_length=1)
    checks: "_Checks"
    strict: bool


class _Checks(Section, extra="ignore"):
    datasets: list[str]


class _Finetune(Section, extra="ignore"):
    dataset: str
    method: str


class _Cleaning(Section, extra="ignore"):
    min_words: int
    near_duplicate: float


class FilterSettings(Section, extra="ignore"):
    """What the page tells of section `filter`; the filter stage checks the values."""

    top_k: int
    reference: Literal["class_name", "template", "image"]
    template: str
    images_per_class: int | None
    diversity: float
    min_similarity: float | None
    min_margin: float | None
    cleaning: _Cleaning


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


class Texts(Section, extra="ignore"):
    """A text set by name, and the templates it was filled from (none for descriptions)."""

    name: str
    templates: list[str]


class Metrics(Section, extra="ignore"):
    """data/evaluation/<dataset>/<texts>/<attack>/metrics.json."""

    dataset: str
    images: int
    classes: int
    seen_in_training: int
    attack: str
    title: str
    options: dict[str, Any]
    budget: int
    norm: str
    epsilon_255: float
    space: str
    pixels: int
    precision: str
    texts: Texts
    attacker: Texts
    seed: int
    note: str
    base: Accuracies
    finetuned: Accuracies


@dataclass(frozen=True)
class Attacked:
    """One attack on one data set: its metrics, and per model the columns of PREDICTIONS sorted
    by image number (the same images in both)."""

    metrics: Metrics
    predictions: dict[str, pa.Table]


@dataclass(frozen=True)
class Evaluated:
    """One data set under one text set: every attack of `evaluate.attacks` in that order, on the
    same images; class names by label; the arrays of the first attack's examples.safetensors."""

    attacks: list[Attacked]
    classes: list[str]
    examples: dict[str, np.ndarray]

    @property
    def metrics(self) -> Metrics:
        """Of the first attack: what all of them share."""
        return self.attacks[0].metrics


@dataclass(frozen=True)
class Inputs:
    """All that the report is made of. sets: the data sets under the first text set;
    other_texts: the same for every further text set; checks: data/checks/<set>.json."""

    params: ReportParams
    settings: dict[str, Any]
    evaluate: EvaluateSettings
    tuned_on: str
    method: str
    sets: list[Evaluated]
    other_texts: list[Evaluated]
    checks: list[dict[str, Any]]
    training: dict[str, np.ndarray]
    sentences: list[dict[str, Any]]
    filter: FilterSettings
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
    evaluate = read_section("evaluate", EvaluateSettings)
    finetune = read_section("finetune", _Finetune)
    sets = [
        [read_evaluated(name, texts, evaluate.attacks) for name in evaluate.datasets]
        for texts in evaluate.texts
    ]
    return Inputs(
        params=params,
        settings=read_params(),
        evaluate=evaluate,
        tuned_on=finetune.dataset,
        method=finetune.method,
        sets=sets[0],
        other_texts=[entry for part in sets[1:] for entry in part],
        checks=[read_json(CHECKS / f"{name}.json") for name in evaluate.checks.datasets],
        training=read_training(TRAINING),
        sentences=read_table(FILTERED, DESCRIPTIONS).to_pylist(),
        filter=read_section("filter", FilterSettings),
        provenance=provenance,
    )


def read_evaluated(dataset: str, texts: str, attacks: list[str]) -> Evaluated:
    """Read data/evaluation/<dataset>/<texts>/<attack>/ for every attack, and the class names."""
    classes = [entry.name for entry in read_classes(dataset)]
    folders = [EVALUATION / dataset / texts / attack for attack in attacks]
    found = [read_attacked(folder, len(classes)) for folder in folders]
    numbers = [entry.predictions["base"]["number"] for entry in found]
    for folder, entry in zip(folders, numbers, strict=True):
        if entry != numbers[0]:
            raise UserError(f"{folder}: not the images of {folders[0]}; run `dvc repro`")
    return Evaluated(found, classes, read_examples(folders[0] / "examples.safetensors"))


def read_attacked(folder: Path, classes: int) -> Attacked:
    """Read one folder of stages.evaluate."""
    metrics = validate(read_json(folder / "metrics.json"), Metrics, str(folder / "metrics.json"))
    path = folder / "predictions.parquet"
    table = read_table(path, PREDICTIONS).sort_by("number")
    for column in ("label", "clean_prediction", "adversarial_prediction"):
        check_labels(table[column].to_numpy(), classes, f"{path}: {column}")
    models = table["model"].to_numpy()
    predictions = {model: table.filter(models == model) for model in MODELS}
    numbers = [predictions[model]["number"] for model in MODELS]
    if numbers[0] != numbers[1] or len(numbers[0]) != metrics.images:
        raise UserError(f"{path}: not the {metrics.images} images of metrics.json for each model")
    return Attacked(metrics, predictions)


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """The arrays numbers (E,), clean, base and finetuned, each (E, 3, S, S)."""
    try:
        found = load_file(path)
        arrays = {name: found[name] for name in ("numbers", "clean", *MODELS)}
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (SafetensorError, KeyError) as error:
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

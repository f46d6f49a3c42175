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
from pipeline.paths import EVALUATION, FILTERED, MODEL
from pipeline.predictions import PREDICTIONS
from pipeline.tables import read_json, read_table

TRAINING = MODEL / "training.csv"
PROVENANCE = Path("data/descriptions/provenance.json")
MODELS = ("base", "finetuned")


class ReportParams(Section):
    """Section `report` of params.yaml, where every key is explained."""

    title: str
    examples: int = Field(ge=0)


class _Evaluate(Section, extra="ignore"):
    datasets: list[str] = Field(min_length=1)


class _Finetune(Section, extra="ignore"):
    dataset: str


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
    sorted by image number (the same images in both), and the arrays of examples.safetensors."""

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
    return Inputs(
        params=params,
        settings=read_params(),
        tuned_on=read_section("finetune", _Finetune).dataset,
        sets=[read_evaluated(name) for name in read_section("evaluate", _Evaluate).datasets],
        training=read_training(TRAINING),
        sentences=read_table(FILTERED, DESCRIPTIONS).to_pylist(),
        filter=read_section("filter", FilterSettings),
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
    return Evaluated(metrics, classes, predictions, read_examples(folder / "examples.safetensors"))


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

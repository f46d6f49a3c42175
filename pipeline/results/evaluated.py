"""The results of the evaluate stages for one image set, read and checked for the report.

The sets, texts and attacks are those of params.yaml, never whatever else is in the folder.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipeline.clip.folders import MODELS as FOLDERS
from pipeline.common.errors import UserError
from pipeline.common.params import Section, validate
from pipeline.common.tables import read_json, read_table
from pipeline.images.classes import check_labels, read_classes
from pipeline.results.files import EVALUATION, PREDICTIONS

MODELS = tuple(FOLDERS)
NORMS = {"linf": "l∞", "l2": "l2"}


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
    dropped: int
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


def options_text(metrics: Metrics) -> str:
    """The options of an attack as people read them."""
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in metrics.options.items())


@dataclass(frozen=True)
class AttackResult:
    """One attack on one data set: its metrics, and per model the columns of PREDICTIONS sorted
    by image number (the same images in both)."""

    metrics: Metrics
    predictions: dict[str, pa.Table]


@dataclass(frozen=True)
class EvaluatedSet:
    """One data set under one text set: every attack of `evaluate.attacks` in that order, on the
    same images; class names by label; the arrays of the first attack's examples.safetensors."""

    attacks: list[AttackResult]
    classes: list[str]
    examples: dict[str, np.ndarray]

    @property
    def metrics(self) -> Metrics:
        """Those of the first attack, for what all attacks of the set share."""
        return self.attacks[0].metrics


def read_evaluated(dataset: str, texts: str, attacks: list[str]) -> EvaluatedSet:
    """Read data/evaluation/<dataset>/<texts>/<attack>/ for every attack, and the class names."""
    classes = [class_entry.name for class_entry in read_classes(dataset)]
    folders = [EVALUATION / dataset / texts / attack for attack in attacks]
    results = [read_attacked(folder, len(classes)) for folder in folders]
    numbers = [result.predictions["base"]["number"] for result in results]
    for folder, image_numbers in zip(folders, numbers, strict=True):
        if image_numbers != numbers[0]:
            raise UserError(f"{folder}: not the images of {folders[0]}; run `dvc repro`")
    return EvaluatedSet(results, classes, read_examples(folders[0] / "examples.safetensors"))


def read_attacked(folder: Path, classes: int) -> AttackResult:
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
    return AttackResult(metrics, predictions)


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """The arrays numbers (E,), clean, base and finetuned, each (E, 3, S, S)."""
    try:
        tensors = load_file(path)
        arrays = {name: tensors[name] for name in ("numbers", "clean", *MODELS)}
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (SafetensorError, KeyError) as error:
        raise UserError(f"{path}: not a file of examples: {' '.join(str(error).split())}") from None
    shape = arrays["clean"].shape
    fits = len(shape) == 4 and shape[:2] == (len(arrays["numbers"]), 3)
    if not fits or any(arrays[model].shape != shape for model in MODELS):
        raise UserError(f"{path}: the arrays differ in their number or size of images")
    return arrays

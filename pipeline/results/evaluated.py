"""The results of the evaluate stages for one image set, read and checked for the report.

The sets, texts, attacks, epsilons and models are those of params.yaml, never whatever else is in
the folder.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipeline.clip.folders import FINETUNED
from pipeline.common.errors import UserError
from pipeline.common.params import Section, validate
from pipeline.common.tables import read_json, read_table
from pipeline.images.classes import EVALUATED, ClassEntry, check_labels, read_classes
from pipeline.results.files import PREDICTIONS, evaluation_folder, prediction_faults

NORMS = {"linf": "l∞", "l2": "l2"}
EXAMPLES = "examples.safetensors"


class Accuracy(Section, extra="ignore"):
    """`correct` of `images`."""

    correct: int = Field(ge=0)
    images: int = Field(ge=1)
    accuracy: float


class Texts(Section, extra="ignore"):
    """A text set by name, and the templates it was filled from (none for descriptions)."""

    name: str
    templates: list[str]


class Metrics(Section, extra="ignore"):
    """metrics.json of one model: data/evaluation/<set>/<texts>/<attack>/<epsilon>/<model>/.

    robust_last is None where it was not measured; note: what the attack did otherwise than its
    name says, "" if nothing.
    """

    dataset: str
    images: int
    dropped: int
    classes: int
    attack: str
    title: str
    options: dict[str, Any]
    budget: int
    norm: str
    epsilon_255: float
    space: str
    pixels: int
    precision: str
    guard_band: float | None
    texts: Texts
    attacker: Texts
    robust: str
    seed: int
    model: str
    note: str
    clean: Accuracy
    robust_any: Accuracy
    robust_last: Accuracy | None


OF_ONE_MODEL = {"model", "note", "clean", "robust_any", "robust_last"}
SHARED = [key for key in Metrics.model_fields if key not in OF_ONE_MODEL]


def options_text(metrics: Metrics) -> str:
    """The options of an attack as people read them."""
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in metrics.options.items())


def model_title(name: str) -> str:
    """A model as pages call it."""
    return "fine-tuned" if name == FINETUNED else name


@dataclass(frozen=True)
class AttackResult:
    """One attack on one data set: per model, in the order of evaluate.models, its metrics and the
    columns of PREDICTIONS sorted by image number (the same images in all)."""

    metrics: dict[str, Metrics]
    predictions: dict[str, pa.Table]

    @property
    def about(self) -> Metrics:
        """The metrics of the first model, for the keys in SHARED, which are equal in all."""
        return next(iter(self.metrics.values()))

    @property
    def notes(self) -> str:
        """The notes of all models as one: once where they agree, by model where they do not."""
        notes = {model: metrics.note for model, metrics in self.metrics.items()}
        if len(set(notes.values())) == 1:
            return self.about.note
        return "; ".join(f"{model_title(model)}: {note}" for model, note in notes.items() if note)


@dataclass(frozen=True)
class EvaluatedSet:
    """One data set under one text set and one epsilon: every attack of `evaluate.attacks` in that
    order, on the same images; classes by label; see `read_examples`, {} where not read."""

    attacks: list[AttackResult]
    classes: list[ClassEntry]
    examples: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """The names of the models, in the order of evaluate.models."""
        return list(self.attacks[0].metrics)

    @property
    def about(self) -> Metrics:
        """That of the first attack, for what all attacks and models of the set share."""
        return self.attacks[0].about


def read_evaluated(
    dataset: str,
    texts: str,
    attacks: Sequence[str],
    epsilon_255: int | float,
    models: Sequence[str],
    examples: bool = False,
) -> EvaluatedSet:
    """Read the folders of every attack on every model, and the class table.

    Args:
        epsilon_255: as params.yaml writes it, which names the folder.
        examples: read the examples of the first attack too.
    """
    classes = read_classes(dataset, EVALUATED)
    folders = [
        {model: evaluation_folder(dataset, texts, attack, epsilon_255, model) for model in models}
        for attack in attacks
    ]
    results = [_read_attack(of_models, len(classes)) for of_models in folders]
    first = (folders[0][models[0]], results[0].predictions[models[0]]["number"])
    for of_models, result in zip(folders, results, strict=True):
        for model, folder in of_models.items():
            if result.predictions[model]["number"] != first[1]:
                raise UserError(f"{folder}: not the images of {first[0]}; run `dvc repro`")
    return EvaluatedSet(results, classes, read_examples(folders[0]) if examples else {})


def _read_attack(folders: dict[str, Path], classes: int) -> AttackResult:
    """The folders of one attack, by model."""
    metrics, predictions = {}, {}
    for model, folder in folders.items():
        metrics[model], predictions[model] = read_attacked(folder, model, classes)
    first, *others = folders
    for model in others:
        for key in SHARED:
            values = [getattr(metrics[name], key) for name in (model, first)]
            if values[0] != values[1]:
                raise UserError(
                    f"{folders[model] / 'metrics.json'}: {key} is {values[0]}, but {values[1]} "
                    f"for {first}; run `dvc repro`"
                )
    return AttackResult(metrics, predictions)


def read_attacked(folder: Path, model: str, classes: int) -> tuple[Metrics, pa.Table]:
    """Read one folder of stages.evaluate, which must be of `model`."""
    metrics = validate(read_json(folder / "metrics.json"), Metrics, str(folder / "metrics.json"))
    if metrics.classes != classes:
        raise UserError(
            f"{folder / 'metrics.json'}: {metrics.classes} classes, the class table of "
            f"'{metrics.dataset}' has {classes}; run `dvc repro`"
        )
    path = folder / "predictions.parquet"
    table = read_table(path, PREDICTIONS, prediction_faults).sort_by("number")
    for column in ("label", "clean_prediction", "adversarial_prediction"):
        check_labels(table[column].to_numpy(), classes, f"{path}: {column}")
    names = {metrics.model, *table["model"].unique().to_pylist()}
    if names != {model} or len(table) != metrics.images:
        raise UserError(
            f"{path}: not the {metrics.images} images of metrics.json for '{model}'; "
            "run `dvc repro`"
        )
    return metrics, table.drop_columns("model")


def read_examples(folders: dict[str, Path]) -> dict[str, np.ndarray]:
    """The arrays numbers (E,), clean (E, 3, S, S), and by model its perturbations of that shape,
    float32, clean in [0, 1].

    Args:
        folders: of one attack, by model.
    """
    arrays: dict[str, np.ndarray] = {}
    for model, folder in folders.items():
        numbers, clean, perturbation = _read_examples(folder / EXAMPLES)
        shared = arrays.setdefault("numbers", numbers), arrays.setdefault("clean", clean)
        if not all(np.array_equal(a, b) for a, b in zip(shared, (numbers, clean), strict=True)):
            raise UserError(f"{folder / EXAMPLES}: not the images of the other models' examples")
        arrays[model] = perturbation
    return arrays


def _read_examples(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        tensors = load_file(path)
        numbers, clean, moved = (tensors[name] for name in ("numbers", "clean", "perturbation"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (SafetensorError, KeyError, OSError) as error:
        raise UserError(f"{path}: not a file of examples: {' '.join(str(error).split())}") from None
    if numbers.dtype.kind != "i" or clean.dtype.kind != "f" or moved.dtype.kind != "f":
        raise UserError(f"{path}: not integer numbers and pixels in floating point")
    if clean.ndim != 4 or clean.shape[:2] != (len(numbers), 3) or moved.shape != clean.shape:
        raise UserError(f"{path}: the arrays differ in their number or size of images")
    return numbers, clean, moved

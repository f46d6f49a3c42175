"""What the report is made of, read and checked: the only part that touches the disk.

The data sets and models are those of params.yaml, never whatever else is in the folder. What
describes a training is read only where the model that it made is evaluated.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pipeline.clip.folders import ABOUT, FINETUNED, TRAINED_CLASSES
from pipeline.common.errors import UserError, first_line
from pipeline.common.params import (
    PARAMS_FILE,
    Section,
    read_params,
    read_section,
    read_value,
    validate,
)
from pipeline.common.tables import read_json, read_table
from pipeline.filtering.table import SCHEMA as DESCRIPTIONS
from pipeline.filtering.table import filtered_faults
from pipeline.images.classes import read_classes
from pipeline.report.about import About, read_about
from pipeline.report.labels import read_rows
from pipeline.results.evaluated import EvaluatedSet, read_evaluated
from pipeline.results.files import checks_file
from pipeline.results.seen_classes import read_seen
from pipeline.soundness.measurements import CheckMeasurements

TRAINED = ABOUT / FINETUNED
RECIPE, LOG = TRAINED / "recipe.json", TRAINED / "training.csv"
SENTENCES, PROVENANCE = TRAINED / "descriptions.parquet", TRAINED / "provenance.json"


class ReportParams(Section):
    """Section `report` of params.yaml, where every key is explained."""

    title: str
    examples: int = Field(ge=0)
    reference: str


class _Checks(Section, extra="ignore"):
    datasets: list[str]


class EvaluateSettings(Section, extra="ignore"):
    """What the page needs of section `evaluate`; the evaluate stage checks the values."""

    models: list[str] = Field(min_length=1)
    datasets: list[str] = Field(min_length=1)
    attacks: list[str] = Field(min_length=1)
    texts: list[str] = Field(min_length=1)
    epsilons_255: list[int | float] = Field(min_length=1)
    checks: _Checks
    strict: bool


class _Attack(Section, extra="ignore"):
    steps: int


class Provenance(Section, extra="ignore"):
    """What the page relies on of provenance.json, in which a backend says what it likes."""

    backend: str | None = None


class TrainedOn(Section, extra="ignore"):
    """What the page tells of recipe.json. images: of the training set; steps: of the
    optimiser; attack: None for a method that trains on clean images."""

    title: str
    images: int
    epochs: int
    steps: int
    attack: _Attack | None


class _Cleaning(Section, extra="ignore"):
    min_words: int
    near_duplicate: float


class FilterSettings(Section, extra="ignore"):
    """What the page tells of section `filter`; the filter stage checks the values."""

    top_k: int
    reference: Literal["class_name", "template", "image"]
    template: str
    images_per_class: int | None
    rank_by: str
    diversity: float
    min_similarity: float | None
    min_margin: float | None
    cleaning: _Cleaning


@dataclass(frozen=True)
class Training:
    """How the fine-tuned model was made. log: columns of training.csv; sentences: every row of the
    filter's table; labels: those of the table of labels; seen: by evaluated data set, how many of
    its classes were trained on."""

    dataset: str
    recipe: TrainedOn
    log: dict[str, np.ndarray]
    sentences: list[dict[str, Any]]
    filter: FilterSettings
    provenance: dict[str, Any]
    labels: list[dict[str, str]]
    seen: dict[str, int]


@dataclass(frozen=True)
class Inputs:
    """All that the report is made of. sets: the data sets under the first text set and the first
    epsilon; further: the same for every other pair of them; checks: of each data set every model;
    training: None where the fine-tuned model is not evaluated."""

    params: ReportParams
    settings: dict[str, Any]
    evaluate: EvaluateSettings
    about: dict[str, About]
    sets: list[EvaluatedSet]
    further: list[EvaluatedSet]
    checks: list[CheckMeasurements]
    training: Training | None


def read_inputs() -> Inputs:
    """Read params.yaml and every input named by it.

    Raises:
        UserError: a file is missing, malformed or does not fit the others.
    """
    params = read_section("report", ReportParams)
    evaluate = read_section("evaluate", EvaluateSettings)
    if params.reference not in evaluate.models:
        raise UserError(
            f"{PARAMS_FILE}: report.reference: '{params.reference}' is not in evaluate.models "
            f"({', '.join(evaluate.models)})"
        )
    pairs = [(texts, epsilon) for epsilon in evaluate.epsilons_255 for texts in evaluate.texts]
    sets = [_read_sets(evaluate, *pair, examples=pair == pairs[0]) for pair in pairs]
    return Inputs(
        params=params,
        settings=read_params(),
        evaluate=evaluate,
        about=read_about(evaluate.models),
        sets=sets[0],
        further=[evaluated for part in sets[1:] for evaluated in part],
        checks=[
            read_measured(checks_file(dataset, model))
            for dataset in evaluate.checks.datasets
            for model in evaluate.models
        ],
        training=_read_training(evaluate.datasets) if FINETUNED in evaluate.models else None,
    )


def _read_sets(
    evaluate: EvaluateSettings, texts: str, epsilon_255: int | float, examples: bool
) -> list[EvaluatedSet]:
    return [
        read_evaluated(name, texts, evaluate.attacks, epsilon_255, evaluate.models, examples)
        for name in evaluate.datasets
    ]


def _read_training(datasets: Sequence[str]) -> Training:
    """What data/about/finetuned holds beside about.json."""
    provenance = read_json(PROVENANCE)
    validate(provenance, Provenance, str(PROVENANCE))
    return Training(
        dataset=read_value("finetune.dataset", str),
        recipe=validate(read_json(RECIPE), TrainedOn, str(RECIPE)),
        log=read_log(LOG),
        sentences=read_table(SENTENCES, DESCRIPTIONS, filtered_faults).to_pylist(),
        filter=read_section("filter", FilterSettings),
        provenance=provenance,
        labels=read_rows(),
        seen=read_seen(datasets, read_classes(TRAINED_CLASSES, TRAINED)),
    )


def read_measured(path: Path) -> CheckMeasurements:
    """One file of stages.check."""
    return validate(read_json(path), CheckMeasurements, str(path))


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Columns of the training log, float64, in the order of the file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        values = np.array([[float(cell) for cell in row] for row in rows])
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a table of numbers: {first_line(error)}") from None
    if len(values) and values.shape[1] != len(set(header)):
        raise UserError(f"{path}: {len(set(header))} names for {values.shape[1]} columns")
    if not {"step", "learning_rate", "loss"} <= set(header) or not len(values):
        raise UserError(f"{path}: expected rows under step, learning_rate, loss, ...")
    return {name: values[:, column] for column, name in enumerate(header)}

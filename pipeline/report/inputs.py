"""What the report is made of, read and checked: the only part that touches the disk.

The data sets are those of params.yaml, never whatever else is in the folder.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pipeline.clip.folders import MODEL, RECIPE
from pipeline.common.errors import UserError
from pipeline.common.params import Section, read_params, read_section, validate
from pipeline.common.tables import read_json, read_table
from pipeline.descriptions.sources import PROVENANCE
from pipeline.filtering.table import FILTERED
from pipeline.filtering.table import SCHEMA as DESCRIPTIONS
from pipeline.results.evaluated import EvaluatedSet, read_evaluated
from pipeline.results.files import CHECKS
from pipeline.soundness.checks import CheckMeasurements

TRAINING = MODEL / "training.csv"


class ReportParams(Section):
    """Section `report` of params.yaml, where every key is explained."""

    title: str
    examples: int = Field(ge=0)


class _Checks(Section, extra="ignore"):
    datasets: list[str]


class EvaluateSettings(Section, extra="ignore"):
    """What the page needs of section `evaluate`; the evaluate stage checks the values."""

    datasets: list[str] = Field(min_length=1)
    attacks: list[str] = Field(min_length=1)
    texts: list[str] = Field(min_length=1)
    checks: _Checks
    strict: bool


class _Finetune(Section, extra="ignore"):
    dataset: str


class _Attack(Section, extra="ignore"):
    steps: int


class TrainedOn(Section, extra="ignore"):
    """What the page tells of data/model/recipe.json. images: of the training set; steps: of the
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
    diversity: float
    min_similarity: float | None
    min_margin: float | None
    cleaning: _Cleaning


@dataclass(frozen=True)
class Inputs:
    """All that the report is made of. sets: the data sets under the first text set;
    other_texts: the same for every further text set; checks: data/checks/<set>.json."""

    params: ReportParams
    settings: dict[str, Any]
    evaluate: EvaluateSettings
    tuned_on: str
    recipe: TrainedOn
    sets: list[EvaluatedSet]
    other_texts: list[EvaluatedSet]
    checks: list[CheckMeasurements]
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
    sets = [
        [read_evaluated(name, texts, evaluate.attacks) for name in evaluate.datasets]
        for texts in evaluate.texts
    ]
    return Inputs(
        params=params,
        settings=read_params(),
        evaluate=evaluate,
        tuned_on=read_section("finetune", _Finetune).dataset,
        recipe=validate(read_json(RECIPE), TrainedOn, str(RECIPE)),
        sets=sets[0],
        other_texts=[evaluated for part in sets[1:] for evaluated in part],
        checks=[read_measured(CHECKS / f"{name}.json") for name in evaluate.checks.datasets],
        training=read_training(TRAINING),
        sentences=read_table(FILTERED, DESCRIPTIONS).to_pylist(),
        filter=read_section("filter", FilterSettings),
        provenance=provenance,
    )


def read_measured(path: Path) -> CheckMeasurements:
    """One file of stages.check."""
    return validate(read_json(path), CheckMeasurements, str(path))


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
    return {name: values[:, column] for column, name in enumerate(header)}

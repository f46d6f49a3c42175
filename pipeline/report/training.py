"""How the fine-tuned model was made: what data/about/finetuned/ holds beside about.json, read and
checked to be of that model."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.clip.about import FILE, About, finetuned_defended, finetuned_origin
from pipeline.clip.folders import ABOUT, FINETUNED, TRAINED_CLASSES
from pipeline.common.errors import UserError, first_line
from pipeline.common.finite import AGAIN
from pipeline.common.params import PARAMS_FILE, Section, section_of, validate
from pipeline.common.tables import read_json, read_table
from pipeline.filtering.table import SCHEMA as DESCRIPTIONS
from pipeline.filtering.table import filtered_faults
from pipeline.images.classes import read_classes
from pipeline.report.labels import read_rows
from pipeline.results.seen_classes import read_seen

TRAINED = ABOUT / FINETUNED
RECIPE, LOG = TRAINED / "recipe.json", TRAINED / "training.csv"
# keys of section finetune: told otherwise or not at all; null means that it is not done
NOT_IN_RECIPE = ("options", "attack", "texts", "captions", "checkpoint_seconds")
OFF_IF_NULL = ("blocks", "lora", "gradient_clip", "averaging", "attack.texts")
SENTENCES, PROVENANCE = TRAINED / "descriptions.parquet", TRAINED / "provenance.json"


class _Attack(Section, extra="ignore"):
    steps: int


class Provenance(Section, extra="ignore"):
    """What the page relies on of provenance.json, in which a backend says what it likes."""

    backend: str | None = None


class TrainedOn(Section, extra="ignore"):
    """What the page tells of recipe.json. images: of the training set; dropped, set_notes: what
    `prepare` left out of it; steps: of the optimiser; attack: None for a method that trains on
    clean images."""

    title: str
    dataset: str
    images: int
    dropped: int = 0
    set_notes: list[str] = []
    epochs: int
    steps: int
    attack: _Attack | None


class FinetuneSettings(Section, extra="allow"):
    """Section `finetune`, which a recipe follows from; the finetune stage checks the values."""

    method: str
    options: dict[str, dict[str, Any]]
    attack: dict[str, Any]


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


def read_training(settings: dict[str, Any], about: About, datasets: Sequence[str]) -> Training:
    """What data/about/finetuned holds beside about.json.

    Args:
        settings: all of params.yaml.
        about: that about.json.

    Raises:
        UserError: a file is missing, malformed, or of another training than params.yaml asks for.
    """
    provenance = read_json(PROVENANCE)
    validate(provenance, Provenance, str(PROVENANCE))
    values = read_json(RECIPE)
    recipe = validate(values, TrainedOn, str(RECIPE))
    section = section_of(settings, "finetune", FinetuneSettings)
    check_recipe(values, section.model_dump(), RECIPE)
    _check_model(values, about)
    log, sentences = read_log(LOG), read_table(SENTENCES, DESCRIPTIONS, filtered_faults)
    if not np.array_equal(log["step"], np.arange(recipe.steps)):
        raise UserError(f"{LOG}: not the {recipe.steps} steps of {RECIPE}, each once; {AGAIN}")
    return Training(
        dataset=recipe.dataset,
        recipe=recipe,
        log=log,
        sentences=sentences.to_pylist(),
        filter=section_of(settings, "filter", FilterSettings),
        provenance=provenance,
        labels=read_rows(),
        seen=read_seen(datasets, read_classes(TRAINED_CLASSES, TRAINED)),
    )


def check_recipe(recipe: Mapping[str, Any], params: Mapping[str, Any], path: Path) -> None:
    """Raise UserError unless a recipe.json, at `path`, says what section `finetune` does. Where
    that says null, it is as published, but for what is then not done at all."""
    for key, expected in _expected(params):
        section, _, name = key.rpartition(".")
        values = recipe["attack"] if section else recipe
        if values is None:  # of a method that trains on clean images
            continue
        trained_by = values.get(name, "missing")
        if trained_by != expected:
            where = f"finetune.{_key(key, params)}"
            raise UserError(
                f"{path}: {key} is {trained_by}, but {expected} in {PARAMS_FILE}: {where}; {AGAIN}"
            )


def _expected(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys of recipe.json, of its attack with a dot, and what section `finetune` asks for."""
    options = dict(params["options"].get(params["method"], {}))
    plain = {key: params[key] for key in params if key not in NOT_IN_RECIPE}
    plain["learning_rate"] = options.pop("learning_rate", None)
    plain |= {f"attack.{key}": value for key, value in params["attack"].items()}
    yield from ((k, value) for k, value in plain.items() if value is not None or k in OFF_IF_NULL)
    yield "options", options


def _key(key: str, params: Mapping[str, Any]) -> str:
    """A key of recipe.json -> the one of section `finetune`."""
    method = f"options.{params['method']}"
    return {"options": method, "learning_rate": f"{method}.learning_rate"}.get(key, key)


def _check_model(recipe: Mapping[str, Any], about: About) -> None:
    """Raise UserError unless recipe.json and about.json tell of one model."""
    file = TRAINED / FILE
    written = {"source": "finetune", "origin": finetuned_origin(recipe)}
    written["defended"] = finetuned_defended(recipe)
    for key, value in written.items():
        if getattr(about, key) != value:
            raise UserError(
                f"{file}: {key} is '{getattr(about, key)}', but '{value}' by {RECIPE}; {AGAIN}"
            )


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Columns of the training log, float64, in the order of the file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        values = np.array([[float(cell) for cell in row] for row in rows])
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise ValueError(f"a number in line {row + 2} is not finite")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a table of numbers: {first_line(error)}") from None
    if len(values) and values.shape[1] != len(set(header)):
        raise UserError(f"{path}: {len(set(header))} names for {values.shape[1]} columns")
    if not {"step", "learning_rate", "loss"} <= set(header) or not len(values):
        raise UserError(f"{path}: expected rows under step, learning_rate, loss, ...")
    return {name: values[:, column] for column, name in enumerate(header)}

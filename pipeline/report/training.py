"""How the fine-tuned model was made: what data/about/finetuned/ holds beside about.json, read and
checked to be of that model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.clip.about import FILE, About, finetuned_defended, finetuned_origin
from pipeline.clip.folders import ABOUT, FINETUNED, TRAINED_CLASSES
from pipeline.common.errors import UserError
from pipeline.common.finite import AGAIN
from pipeline.common.params import PARAMS_FILE, Section, section_of, validate
from pipeline.common.tables import read_json, read_table
from pipeline.filtering.table import SCHEMA as DESCRIPTIONS
from pipeline.filtering.table import filtered_faults
from pipeline.images.classes import NO_SET, read_classes
from pipeline.report.labels import read_rows
from pipeline.report.training_log import read_log
from pipeline.results.metrics import NORMS
from pipeline.results.seen_classes import read_seen

TRAINED = ABOUT / FINETUNED
RECIPE, LOG = TRAINED / "recipe.json", TRAINED / "training.csv"
# keys of section finetune: told otherwise or not at all; null means that it is not done
NOT_IN_RECIPE = ("options", "attack", "validation", "texts", "captions", "checkpoint_seconds")
OFF_IF_NULL = ("blocks", "lora", "gradient_clip", "averaging", "attack.texts")
SENTENCES, PROVENANCE = TRAINED / "descriptions.parquet", TRAINED / "provenance.json"


class _Attack(Section, extra="ignore"):
    steps: int


class Provenance(Section, extra="ignore"):
    """What the page relies on of provenance.json, in which a backend says what it likes."""

    backend: str | None = None


class Validated(Section, extra="ignore"):
    """The validation of a training, in recipe.json."""

    dataset: str
    every: int
    steps: int
    norm: str
    epsilon_255: float
    patience: int | None
    keep_best: bool

    @property
    def norm_title(self) -> str:
        """As prose writes it."""
        return NORMS.get(self.norm, self.norm)


class TrainedOn(Section, extra="ignore"):
    """What the page tells of recipe.json. images: of the training set; dropped, set_notes: what
    `prepare` left out of it; steps: of the optimiser; attack: None for a method that trains on
    clean images; best_step, saved_step: of the highest robust accuracy on the validation set, and
    of the saved weights; planned_steps: without early stopping."""

    title: str
    dataset: str
    images: int
    dropped: int = 0
    set_notes: list[str] = []
    epochs: int
    steps: int
    attack: _Attack | None
    validation: Validated | None = None
    best_step: int = 0
    saved_step: int = 0
    planned_steps: int = 0


class FinetuneSettings(Section, extra="allow"):
    """Section `finetune`, which a recipe follows from; the finetune stage checks the values."""

    method: str
    options: dict[str, dict[str, Any]]
    attack: dict[str, Any]
    validation: dict[str, Any]


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
        values = recipe.get(section) if section else recipe
        if values is None and section == "attack":  # of a method that trains on clean images
            continue
        trained_by = (values or {}).get(name, "missing")
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
    yield from _expected_validation(params["validation"])
    yield "options", options


def _expected_validation(section: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The same of section `finetune.validation`, of which nothing is published."""
    if section["dataset"] == NO_SET:
        yield "validation", None
    else:
        yield from ((f"validation.{key}", value) for key, value in section.items())


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

"""What a model card is made of, read and checked to belong together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.clip.about import About, read_about
from pipeline.clip.folders import (
    BASE,
    FINETUNED,
    MODEL,
    RECIPE,
    TRAINED_CLASSES,
    record_folder,
)
from pipeline.clip.model import CONFIG_FILE, WEIGHTS_FILE
from pipeline.common.errors import UserError
from pipeline.common.params import Section, validate
from pipeline.common.tables import read_json
from pipeline.images.classes import read_classes
from pipeline.report.training import PROVENANCE, Provenance
from pipeline.results.files import METRICS, evaluation_folder
from pipeline.results.metrics import Metrics
from pipeline.results.seen_classes import read_seen
from saft.export.licences import DatasetLicence, pretrained_on, terms_of
from saft.export.lineage import FINETUNE, LOCK, Lock, check_measured


class EvaluatedNames(Section, extra="ignore"):
    """What of section `evaluate` tells what was measured."""

    models: list[str]
    datasets: list[str] = Field(min_length=1)
    attacks: list[str] = Field(min_length=1)
    texts: list[str] = Field(min_length=1)
    epsilons_255: list[int | float] = Field(min_length=1)


class _Checks(Section, extra="ignore"):
    passed: int
    failed: int


class TrainedUnder(Section, extra="ignore"):
    """The training attack of recipe.json."""

    norm: str
    epsilon_255: float
    step_255: float
    steps: int
    random_start: bool


class _Lora(Section):
    rank: int
    alpha: float


class _ValidatedOn(Section, extra="ignore"):
    dataset: str
    steps: int
    keep_best: bool


class Trained(Section, extra="ignore"):
    """What of recipe.json a card tells; attack: None for a method that trains on clean images;
    saved_step, planned_steps: as recipe.json counts them, where there was a validation."""

    title: str
    dataset: str
    options: dict[str, Any]
    attack: TrainedUnder | None
    validation: _ValidatedOn | None = None
    saved_step: int = 0
    planned_steps: int = 0
    images: int
    dropped: int = 0
    set_notes: list[str] = []
    steps: int
    batch_size: int
    epochs: int
    optimiser: str
    learning_rate: float
    warmup_steps: int
    augmentation: str
    momentum: float
    weight_decay: float
    blocks: str | None
    lora: _Lora | None
    gradient_clip: float | None
    averaging: float | None
    mix_alpha: float
    seed: int


class Results(Section, extra="ignore"):
    """reports/metrics.json, see `pipeline.report.page`."""

    datasets: dict[str, dict[str, dict[str, float]]]
    mean: dict[str, dict[str, float]]
    checks: _Checks


@dataclass(frozen=True)
class Inputs:
    """All that a card is made of. measured: per data set, the fine-tuned model under the attacks in
    the order of evaluate.attacks; seen: per data set, how many of its classes were trained on;
    compares: whether results has the base model's accuracies too; classes: how many were trained
    on; provenance: of the class descriptions, as a backend wrote it."""

    recipe: dict[str, Any]
    results: Results
    measured: dict[str, list[Metrics]]
    seen: dict[str, int]
    compares: bool
    classes: int
    provenance: dict[str, Any]
    base: About
    terms: list[DatasetLicence]


def read_inputs(lock: Lock) -> Inputs:
    """Read everything, after making sure that it belongs together.

    Raises:
        UserError: a file is missing or broken, the fine-tuned model was not evaluated, or the
            results are not its own.
    """
    _check_there()
    named = validate(lock.params(METRICS).get("evaluate"), EvaluatedNames, f"{LOCK}: evaluate")
    if FINETUNED not in named.models:
        raise UserError(
            f"{METRICS}: without '{FINETUNED}', whose results a card tells; add it to "
            "evaluate.models and run `dvc repro`"
        )
    compared = [name for name in (BASE, FINETUNED) if name in named.models]
    folders = {name: _folders(named, name) for name in compared}
    check_measured(lock, {name: sum(of.values(), []) for name, of in folders.items()})
    recipe = read_json(RECIPE)
    validate(recipe, Trained, str(RECIPE))
    trained = read_classes(TRAINED_CLASSES, record_folder(FINETUNED))
    return Inputs(
        recipe=recipe,
        results=validate(read_json(METRICS), Results, str(METRICS)),
        measured={name: [_metrics(f) for f in of] for name, of in folders[FINETUNED].items()},
        seen=read_seen(named.datasets, trained),
        compares=BASE in compared,
        classes=len(trained),
        provenance=_provenance(),
        base=read_about(record_folder(BASE)),
        terms=[terms_of(lock, name) for name in (recipe["dataset"], *pretrained_on(lock))],
    )


def _provenance() -> dict[str, Any]:
    path = record_folder(FINETUNED) / PROVENANCE.name
    provenance: dict[str, Any] = read_json(path)
    validate(provenance, Provenance, str(path))
    return provenance


def _folders(named: EvaluatedNames, model: str) -> dict[str, list[Path]]:
    """By data set, those of every attack on a model, with the headline's texts and epsilon."""
    texts, epsilon = named.texts[0], named.epsilons_255[0]
    return {
        dataset: [
            evaluation_folder(dataset, texts, attack, epsilon, model) for attack in named.attacks
        ]
        for dataset in named.datasets
    }


def _check_there() -> None:
    model_files = [MODEL / CONFIG_FILE, MODEL / WEIGHTS_FILE, RECIPE]
    for path in [*model_files, METRICS]:
        if not path.is_file():
            stage = FINETUNE if path in model_files else "report"
            raise UserError(f"{path}: not found; `dvc repro {stage}` makes it")


def _metrics(folder: Path) -> Metrics:
    path = folder / "metrics.json"
    return validate(read_json(path), Metrics, str(path))

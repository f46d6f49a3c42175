"""What a model card is made of, read and checked to belong together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.clip.folders import BASE_MODEL, MODEL, RECIPE
from pipeline.clip.model import CONFIG_FILE, WEIGHTS_FILE
from pipeline.common import options, registry
from pipeline.common.errors import UserError
from pipeline.common.params import Section, validate
from pipeline.common.tables import read_json
from pipeline.images.classes import CLASSES, read_classes
from pipeline.models.interface import ModelCardOrigin
from pipeline.prepare.facts import published_facts
from pipeline.results.evaluated import Metrics
from pipeline.results.files import EVALUATION, METRICS
from saft.export.lineage import LOCK, Lock, check_measured


class EvaluatedNames(Section, extra="ignore"):
    """What of section `evaluate` tells what was measured."""

    datasets: list[str] = Field(min_length=1)
    attacks: list[str] = Field(min_length=1)
    texts: list[str] = Field(min_length=1)


class _Checks(Section, extra="ignore"):
    passed: int
    failed: int


class Results(Section, extra="ignore"):
    """reports/metrics.json, see `pipeline.report.page`."""

    datasets: dict[str, dict[str, dict[str, float]]]
    mean: dict[str, dict[str, float]]
    checks: _Checks


@dataclass(frozen=True)
class DatasetLicence:
    """A data set that weights were trained on; title, licence and citation are None where the set
    is not a published one."""

    dataset: str
    source: str
    title: str | None
    licence: str | None
    citation: str | None


@dataclass(frozen=True)
class Inputs:
    """All that a card is made of. measured: per data set, its attacks in the order of
    evaluate.attacks; classes: how many were trained on."""

    recipe: dict[str, Any]
    results: Results
    measured: dict[str, list[Metrics]]
    classes: int
    base: ModelCardOrigin
    terms: list[DatasetLicence]


def read_inputs(lock: Lock) -> Inputs:
    """Read everything, after making sure that it belongs together.

    Raises:
        UserError: a file is missing or broken, or the results are not those of data/model.
    """
    _check_there()
    named = validate(lock.params(METRICS).get("evaluate"), EvaluatedNames, f"{LOCK}: evaluate")
    folders = {
        name: [EVALUATION / name / named.texts[0] / attack for attack in named.attacks]
        for name in named.datasets
    }
    check_measured(lock, [folder for of_set in folders.values() for folder in of_set])
    recipe = read_json(RECIPE)
    base, base_datasets = _base(lock)
    return Inputs(
        recipe=recipe,
        results=validate(read_json(METRICS), Results, str(METRICS)),
        measured={name: [_metrics(f) for f in of_set] for name, of_set in folders.items()},
        classes=len(read_classes(recipe["dataset"])),
        base=base,
        terms=[_terms(lock, name) for name in (recipe["dataset"], *base_datasets)],
    )


def _check_there() -> None:
    model_files = [MODEL / CONFIG_FILE, MODEL / WEIGHTS_FILE, RECIPE]
    for path in [*model_files, METRICS]:
        if not path.is_file():
            stage = "finetune" if path in model_files else "report"
            raise UserError(f"{path}: not found; `dvc repro {stage}` makes it")


def _metrics(folder: Path) -> Metrics:
    path = folder / "metrics.json"
    return validate(read_json(path), Metrics, str(path))


def _base(lock: Lock) -> tuple[ModelCardOrigin, list[str]]:
    """The base model, and the image set that it was trained on where that happened here."""
    values = lock.params(BASE_MODEL)
    source, dataset = values.get("base_model.source", ""), values.get("base_model.dataset", "")
    values_of = {source: values.get(f"base_model.options.{source}", {})}
    module, params = options.load_plugin(
        "pipeline.model_sources", "base_model", "source", source, values_of
    )
    return module.about(params, dataset), [dataset] if source == "pretrain" else []


def _terms(lock: Lock, dataset: str) -> DatasetLicence:
    """What the module of the set's source states of it."""
    spec = lock.params(CLASSES / f"{dataset}.parquet").get(f"prepare.sets.{dataset}", {})
    source = str(spec.get("source"))
    module = registry.load("pipeline.datasets", source, f"{LOCK}: prepare.sets.{dataset}.source")
    facts = published_facts(module)
    if facts is None:
        return DatasetLicence(dataset, source, None, None, None)
    return DatasetLicence(dataset, source, facts.title, facts.licence, facts.citation)

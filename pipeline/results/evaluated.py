"""The results of the evaluate stages for one image set, read and checked for the report.

The sets, texts, attacks, epsilons and models are those of params.yaml, never whatever else is in
the folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.clip.folders import FINETUNED
from pipeline.common.errors import UserError
from pipeline.common.finite import AGAIN
from pipeline.common.params import validate
from pipeline.common.tables import read_json, read_table
from pipeline.images.classes import EVALUATED, ClassEntry, check_labels, read_classes
from pipeline.results.agreement import (
    Agreed,
    Verdicts,
    check_own,
    check_params,
    check_together,
)
from pipeline.results.examples import Examples, read_examples
from pipeline.results.files import (
    PREDICTIONS,
    Evaluation,
    evaluation_folder,
    prediction_faults,
    verdict_faults,
)
from pipeline.results.metrics import Metrics


def model_title(name: str) -> str:
    """A model as pages call it."""
    return "fine-tuned" if name == FINETUNED else name


@dataclass(frozen=True)
class AttackResult:
    """One attack on one data set: per model, in the order of evaluate.models, its metrics and the
    columns of PREDICTIONS sorted by image number (the same images in all); evaluations: the same
    with their folders."""

    metrics: dict[str, Metrics]
    predictions: dict[str, pa.Table]
    evaluations: list[Verdicts] = field(default_factory=list)

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
    order, on the same images; classes by label; examples: of the first, None where not read."""

    attacks: list[AttackResult]
    classes: list[ClassEntry]
    examples: Examples | None = None

    @property
    def models(self) -> list[str]:
        """The names of the models, in the order of evaluate.models."""
        return list(self.attacks[0].metrics)

    @property
    def evaluations(self) -> list[Verdicts]:
        """Of every attack on every model."""
        return [verdicts for attack in self.attacks for verdicts in attack.evaluations]

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

    Raises:
        UserError: a file is missing, damaged, of another evaluation, or does not agree with the
            others; see `pipeline.results.agreement`.
    """
    classes = read_classes(dataset, EVALUATED)
    results = []
    for attack in attacks:
        keys = [(dataset, texts, attack, epsilon_255, model) for model in models]
        results.append(_attack_result([read_verdicts(key, len(classes)) for key in keys]))
    evaluated = EvaluatedSet(results, classes)
    check_together(evaluated.evaluations)
    if not examples:
        return evaluated
    folders = {evaluation.key[4]: evaluation.folder for evaluation in results[0].evaluations}
    epsilon = results[0].about.epsilon_255 / 255
    return EvaluatedSet(results, classes, read_examples(folders, results[0].about.norm, epsilon))


def check_evaluated(sets: Sequence[EvaluatedSet], params: Agreed) -> None:
    """Raise UserError unless all that stands side by side belongs together, and is what section
    `evaluate` asks for."""
    evaluations = [verdicts for evaluated in sets for verdicts in evaluated.evaluations]
    check_together(evaluations)
    check_params(evaluations, params)


def _attack_result(evaluations: list[Verdicts]) -> AttackResult:
    metrics = {evaluation.key[4]: evaluation.metrics for evaluation in evaluations}
    tables = {evaluation.key[4]: evaluation.table for evaluation in evaluations}
    return AttackResult(metrics, tables, evaluations)


def read_verdicts(key: Evaluation, classes: int) -> Verdicts:
    """Read one folder of stages.evaluate, which must be of what its path says.

    Args:
        classes: of the image set.
    """
    folder, model = evaluation_folder(*key), key[4]
    metrics = validate(read_json(folder / "metrics.json"), Metrics, str(folder / "metrics.json"))
    if metrics.classes != classes:
        raise UserError(
            f"{folder / 'metrics.json'}: {metrics.classes} classes, the class table of "
            f"'{metrics.dataset}' has {classes}; {AGAIN}"
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
    for fault in verdict_faults(table, classes):
        raise UserError(f"{path}: {fault}; {AGAIN}")
    verdicts = Verdicts(folder, key, metrics, table.drop_columns("model"))
    check_own(verdicts)
    return verdicts

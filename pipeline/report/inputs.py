"""What the report is made of, read and checked: the only part that touches the disk.

The data sets and models are those of params.yaml, never whatever else is in the folder. What
describes a training is read only where the model that it made is evaluated.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pipeline.clip.folders import FINETUNED
from pipeline.common.bounds import CountOrZero, Name
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section, read_params, section_of
from pipeline.report.about import About, read_about
from pipeline.report.training import Training, read_training
from pipeline.results.agreement import Agreed
from pipeline.results.evaluated import EvaluatedSet, check_evaluated, read_evaluated
from pipeline.soundness.measurements import CheckMeasurements, CheckSettings, read_measured


class ReportParams(Section):
    """Section `report` of params.yaml, where every key is explained."""

    title: str
    examples: CountOrZero
    reference: Name


class _Checks(CheckSettings):
    datasets: list[str]


class EvaluateSettings(Agreed):
    """What the page needs of section `evaluate`; the evaluate stage checks the values."""

    models: list[str] = Field(min_length=1)
    datasets: list[str] = Field(min_length=1)
    attacks: list[str] = Field(min_length=1)
    texts: list[str] = Field(min_length=1)
    epsilons_255: list[int | float] = Field(min_length=1)
    checks: _Checks
    strict: bool


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
    settings = read_params()
    params = section_of(settings, "report", ReportParams)
    evaluate = section_of(settings, "evaluate", EvaluateSettings)
    if params.reference not in evaluate.models:
        raise UserError(
            f"{PARAMS_FILE}: report.reference: '{params.reference}' is not in evaluate.models "
            f"({', '.join(evaluate.models)})"
        )
    pairs = [(texts, epsilon) for epsilon in evaluate.epsilons_255 for texts in evaluate.texts]
    sets = [_read_sets(evaluate, *pair, examples=pair == pairs[0]) for pair in pairs]
    further = [evaluated for part in sets[1:] for evaluated in part]
    check_evaluated([*sets[0], *further], evaluate)
    about = read_about(evaluate.models)
    training = None
    if FINETUNED in evaluate.models:
        training = read_training(settings, about[FINETUNED], evaluate.datasets)
    images = {evaluated.about.dataset: evaluated.about.images for evaluated in sets[0]}
    checks = [
        read_measured(
            dataset, model, evaluate.epsilons_255[0], evaluate.checks, images.get(dataset, 0)
        )
        for dataset in evaluate.checks.datasets
        for model in evaluate.models
    ]
    return Inputs(params, settings, evaluate, about, sets[0], further, checks, training)


def _read_sets(
    evaluate: EvaluateSettings, texts: str, epsilon_255: int | float, examples: bool
) -> list[EvaluatedSet]:
    return [
        read_evaluated(name, texts, evaluate.attacks, epsilon_255, evaluate.models, examples)
        for name in evaluate.datasets
    ]

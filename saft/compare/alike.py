"""Runs that may stand in one table: evaluated alike, and with a model that a run made."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.clip.folders import FINETUNED
from pipeline.common.errors import UserError
from pipeline.results.evaluated import EvaluatedSet
from pipeline.results.metrics import SHARED
from saft.compare.arms import ComparedRun, other_models

IMAGES = ["number", "label"]
VERDICTS = ["clean_prediction", "robust_any"]
# sections of params.yaml that a training follows from, each with the key that names its plug-in
TRAINED_BY = {"describe": "backend", "filter": None, "finetune": "method"}
# what says which method it is, or nothing of what is trained
DIFFERS = ("finetune.method", "finetune.checkpoint_seconds")


def trained_by(values: Mapping[str, Any]) -> dict[str, Any]:
    """By path in params.yaml what a training follows from: sections describe, filter and finetune
    but for the method's name, with the options of the chosen plug-ins only.

    Args:
        values: all of params.yaml.
    """
    leaves: dict[str, Any] = {}
    for name, chooses in TRAINED_BY.items():
        section = dict(values[name])
        if chooses:
            options, chosen = section["options"], section[chooses]
            section["options"] = {chosen: options.get(chosen, {})}
        leaves |= dict(_leaves(section, name))
    return {path: value for path, value in leaves.items() if path not in DIFFERS}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    else:
        yield path, value


def check_alike(runs: Sequence[ComparedRun]) -> None:
    """Raise UserError unless all runs were trained and evaluated alike: trained by the same params
    but for the method and for what a run changed by intent, same threat model, attacks, texts,
    images and models, and the same verdicts on those that no run made."""
    for run in runs:
        check_trains(run.sets[0].models, run.label)
    for number, run in enumerate(runs):
        for other in runs[:number]:
            _check_trained_alike(other, run)
    for run in runs[1:]:
        for ours, theirs in zip(runs[0].sets, run.sets, strict=False):
            _check_alike(runs[0].label, ours, run.label, theirs)
        names = [[evaluated.about.dataset for evaluated in r.sets] for r in (runs[0], run)]
        if names[0] != names[1]:
            raise UserError(_unlike(runs[0].label, run.label, "evaluate.datasets", *names))


def _check_trained_alike(first: ComparedRun, second: ComparedRun) -> None:
    changed = first.changed | second.changed
    for path in {**first.training, **second.training}:
        values = [one.training.get(path) for one in (first, second)]
        of_one_plugin = ".options." in path and not all(
            path in one.training for one in (first, second)
        )
        intended = any(path == key or path.startswith(f"{key}.") for key in changed)
        if values[0] != values[1] and not of_one_plugin and not intended:
            raise UserError(_unlike(first.label, second.label, path, *values, how="trained"))


def _check_alike(first: str, ours: EvaluatedSet, second: str, theirs: EvaluatedSet) -> None:
    attacks = [[attack.about.attack for attack in s.attacks] for s in (ours, theirs)]
    for key, pair in {"attacks": attacks, "models": [ours.models, theirs.models]}.items():
        if pair[0] != pair[1]:
            raise UserError(_unlike(first, second, f"evaluate.{key}", *pair))
    for one, other in zip(ours.attacks, theirs.attacks, strict=True):
        for key in SHARED:
            values = [getattr(attack.about, key) for attack in (one, other)]
            if values[0] != values[1]:
                raise UserError(_unlike(first, second, key, *values))
        # within a run all models have the same images
        images = [attack.predictions[FINETUNED].select(IMAGES) for attack in (one, other)]
        if images[0] != images[1]:
            raise UserError(f"{first} and {second} differ in the images: run both again")
        for model in other_models(ours):
            tables = [attack.predictions[model].select(VERDICTS) for attack in (one, other)]
            if tables[0] != tables[1]:
                what = f"the model '{model}'"
                raise UserError(f"{first} and {second} differ in {what}: run both again")


def _unlike(
    first: str, second: str, key: str, ours: Any, theirs: Any, *, how: str = "evaluated"
) -> str:
    return (
        f"{first} and {second} were {how} differently: {key} is {ours} against {theirs}; "
        "run both again with the same params.yaml"
    )


def check_trains(models: Sequence[str], where: str) -> None:
    """Raise UserError unless what a method makes is among the evaluated models."""
    if FINETUNED not in models:
        raise UserError(
            f"{where}: evaluate.models is {', '.join(models)}; add {FINETUNED}, which is compared"
        )

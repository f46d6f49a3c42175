"""An evaluation from its inputs to its verdicts; shared by the stages `evaluate` and `check`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch

from pipeline.clip import model as clip
from pipeline.clip.config import model_config
from pipeline.clip.folders import clip_folder
from pipeline.clip.origins import hash_origins
from pipeline.clip.precision import Precision, check_precision
from pipeline.common import scratch
from pipeline.common.params import Section
from pipeline.cost import meter as cost
from pipeline.evaluation import parts
from pipeline.evaluation.clean_predictions import cached_clean_predictions
from pipeline.evaluation.devices import Worker, distribute
from pipeline.evaluation.evaluate import Verdicts, evaluate_attack
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.stateful import check_deterministic
from pipeline.evaluation.worker import Subject
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier, load_classifier
from pipeline.images.image_set import (
    ImageSet,
    check_classes,
    checksum,
    content_files,
    open_images,
)
from pipeline.splits.even_choice import evenly_spaced
from pipeline.splits.shared_images import check_not_validated
from pipeline.zeroshot import text_sets
from pipeline.zeroshot.text_sets import TextSet


class Inputs(NamedTuple):
    """What a model is evaluated on. model: its name; epsilon_255: radius of the ball, in 1/255;
    targets: those of the images that are used; texts: those that classify; seen: those that the
    attacker sees."""

    params: EvaluateParams
    model: str
    epsilon_255: float
    images: ImageSet
    targets: Targets
    texts: TextSet
    seen: TextSet
    device: torch.device


def open_inputs(
    model: str, dataset: str, texts: str, epsilon_255: float, count: int | None, key: str,
    params: EvaluateParams, device: torch.device,
) -> Inputs:  # fmt: skip
    """Open an image set and a model's embeddings of a text set for it.

    Args:
        count: how many images are used, evenly spaced; None: all.
        key: of params.yaml, that names the set.

    Raises:
        UserError: one of them is missing or does not fit, the device lacks the precision, or the
            model's training was validated on one of the images.
    """
    check_precision(params.precision, "evaluate.precision", device)
    images = open_images(dataset)
    check_classes(images, key)
    class_ids = [class_entry.class_id for class_entry in images.classes]
    pair = text_sets.read_pair(model, texts, dataset, class_ids)
    numbers = evenly_spaced(len(images.labels), count)
    check_not_validated(clip_folder(model), images, numbers, key)
    targets = Targets(images.pixels, numbers, images.labels[numbers])
    return Inputs(params, model, epsilon_255, images, targets, *pair, device)


def loader(
    inputs: Inputs, precision: Precision = "float32", compiled: bool = False
) -> Callable[[torch.device], ZeroShotClassifier]:
    """device -> the classifier of the model, for attacks in `precision`; picklable."""
    size, native = inputs.images.pixels.shape[-1], inputs.params.space == "native"
    folder = clip_folder(inputs.model)
    load = partial(load_classifier, folder, inputs.texts, inputs.seen, size, native)
    return partial(load, precision=precision, compiled=compiled)


def watch(meter: cost.Meter, classifier: ZeroShotClassifier, precision: Precision) -> None:
    """Count what both of the classifier's encoders see."""
    meter.watch(classifier.encoder, "float32")
    if classifier.ascended is not None:
        meter.watch(classifier.ascended, precision)


def record_cost(
    stage: str, inputs: Inputs, spent: cost.Spent, team: Sequence[Worker], output: Path
) -> None:
    """Keep what the evaluation of the model cost, and print a line on it."""
    config = model_config(clip_folder(inputs.model))
    run = cost.Run(stage, len(inputs.targets.labels), config, processes=len(team) or 1)
    cost.record(run, spent, inputs.device, output)


class Attack(NamedTuple):
    """An attack plug-in by its name, with its checked Params, and who runs it. team: processes, or
    none; cut: which part of the images; folder, origins: of those parts."""

    name: str
    module: ModuleType
    options: Section
    team: Sequence[Worker]
    cut: parts.Cut
    folder: Path
    origins: Mapping[str, str]


def plan(
    name: str,
    plugin: tuple[ModuleType, Section],
    inputs: Inputs,
    team: Sequence[Worker],
    cut: parts.Cut,
    output: Path,
) -> Attack:
    """The attack whose verdicts on `inputs` go to `output`."""
    made_from = origins(inputs, plugin[1]) if cut else {}
    return Attack(name, *plugin, team, cut, parts.folder_of(output), made_from)


def attack_model(
    attack: Attack, inputs: Inputs, meter: cost.Meter
) -> tuple[ZeroShotClassifier, Verdicts]:
    """Clean predictions and the attack on the model. meter: counts, unless a team attacks."""
    params, device, dataset = inputs.params, inputs.device, inputs.images.name
    load = loader(inputs, params.precision, params.compile)
    classifier = load(device)
    check_deterministic(classifier, inputs.targets, inputs.model, device)
    if not attack.team:
        watch(meter, classifier, params.precision)
    pixels, config = checksum(dataset), model_config(clip_folder(inputs.model))
    clean = cached_clean_predictions(
        classifier, inputs.targets, params.batch_size, device, pixels, config
    )
    run = distribute(attack.team, attack.module, Subject(load, dataset))
    run = parts.cut_run(attack.cut, run, attack.module, attack.folder, attack.origins)
    return classifier, evaluate_attack(
        classifier, attack.module, attack.options, inputs.targets, params, inputs.epsilon_255,
        clean, device, run,
    )  # fmt: skip


def record_attack(attack: Attack, inputs: Inputs, spent: cost.Spent, output: Path) -> None:
    """Keep what the attack cost; of an attack in parts that is not known here."""
    if attack.cut:
        return
    evaluated = inputs.images.name, attack.name, inputs.texts.name, inputs.epsilon_255, inputs.model
    stage = f"evaluate@{'-'.join(map(str, evaluated))}"
    record_cost(stage, inputs, spent, attack.team, output)


def clear_parts(attack: Attack) -> None:
    """Remove the parts that the verdicts were put together from, once those are written."""
    if attack.cut:
        scratch.clear(attack.folder)


def origins(inputs: Inputs, options: Section) -> dict[str, str]:
    """What the verdicts of one evaluation follow from, see `hash_origins`."""
    elsewhere = {"models", "datasets", "attacks", "texts", "epsilons_255", "options", "checks"}
    values = [
        inputs.params.model_dump(exclude={*elsewhere, "strict"}),
        inputs.epsilon_255,
        options.model_dump(),
    ]
    dataset, folder = inputs.images.name, clip_folder(inputs.model)
    model = [folder / name for name in (clip.CONFIG_FILE, clip.WEIGHTS_FILE)]
    tables = text_sets.pair_files(inputs.model, inputs.texts.name, dataset)
    return hash_origins(values, [*content_files(dataset), *model, *tables], inputs.device)

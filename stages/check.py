"""Measurements that a sound attack cannot fail: `python -m stages.check <set>`.

Reads what stages.evaluate reads; writes data/checks/<set>.json, which the report judges.
SAFT_DEVICES shares the attacks among devices.
"""

from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from pipeline.clip.config import model_config
from pipeline.clip.device import be_deterministic, pick_device
from pipeline.clip.folders import MODEL, MODELS
from pipeline.clip.precision import check_precision
from pipeline.common.params import read_section
from pipeline.common.tables import write_json
from pipeline.cost import meter as cost
from pipeline.evaluation import fixed_step
from pipeline.evaluation.clean_predictions import clean_predictions
from pipeline.evaluation.devices import Subject, Worker, device_names, spread, workers
from pipeline.evaluation.evaluate import EvaluateParams, evenly_spaced
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import load_victim
from pipeline.images.image_set import check_classes, open_images
from pipeline.results.files import CHECKS
from pipeline.soundness.measure import ChecksParams, measure
from pipeline.zeroshot import text_sets as embed
from stages.runner import stage


@stage("check")
def main(dataset: Annotated[str, typer.Argument(help="a set of evaluate.checks.datasets")]) -> None:
    """Attack a few images at several epsilons and with several numbers of steps."""
    with workers(device_names()) as team:
        run(dataset, team)


def run(dataset: str, team: list[Worker]) -> None:
    """The whole stage; the attacks by `team` if there is one."""
    params = read_section("evaluate", EvaluateParams)
    checks = read_section("evaluate.checks", ChecksParams)
    device = pick_device()
    be_deterministic()
    check_precision(params.precision, "evaluate.precision", device)
    images = open_images(dataset)
    check_classes(images, "evaluate.checks.datasets")
    ids = [entry.class_id for entry in images.classes]
    texts, seen = embed.read_pair(checks.texts, dataset, ids)
    size, native = images.pixels.shape[-1], params.space == "native"
    found: dict[str, Any] = {"dataset": dataset, "epsilon_255": params.epsilon_255}
    numbers = evenly_spaced(len(images.labels), checks.images)
    chosen = Targets(images.pixels, numbers, images.labels[numbers])
    meter = cost.Meter(device)
    for name, folder in MODELS.items():
        exact = partial(load_victim, folder, texts, seen, size, native)
        load = partial(exact, precision=params.precision, compiled=params.compile)
        victim = load(device)
        if not team:
            meter.watch(victim.encoder, "float32")
            if victim.ascended is not None:
                meter.watch(victim.ascended, params.precision)
        runs = [spread(team, fixed_step, Subject(way, dataset)) for way in (load, exact)]
        prediction, _ = clean_predictions(victim, chosen, params.batch_size, device)
        right = np.flatnonzero(prediction == chosen.labels)
        targets = Targets(images.pixels, numbers[right], chosen.labels[right])
        counts = measure(victim, targets, checks, params, device, *runs)
        found[name] = {"images": len(numbers)} | counts
        print(f"{dataset} {name}: {found[name]}", flush=True)
    spent, output = meter.stop(), CHECKS / f"{dataset}.json"
    write_json(output, found)
    measured = cost.Run(
        f"check@{dataset}",
        len(MODELS) * len(numbers),
        model_config(MODEL),
        processes=len(team) or 1,
    )
    cost.record(measured, spent, device, output)


if __name__ == "__main__":
    typer.run(main)

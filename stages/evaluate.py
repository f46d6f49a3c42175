"""Accuracy on one set under one attack: `python -m stages.evaluate <set> <attack> <text set>`.

Reads data/images/<set>/, data/embeddings/{texts,attacker}/<text set>/<set>.parquet,
data/base_model/ and data/model/; writes data/evaluation/<set>/<text set>/<attack>/:
predictions.parquet (one row per image and model), metrics.json and examples.safetensors (a
few perturbations, for the report). SAFT_DEVICES shares the attack among devices, --shard and
--merge among machines (pipeline.distributed).
"""

from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.numpy import save

from pipeline.clip import model as clip
from pipeline.clip.device import be_deterministic, pick_device
from pipeline.clip.folders import MODEL, MODELS
from pipeline.clip.origins import hash_origins
from pipeline.clip.precision import check_precision, stated
from pipeline.common import scratch
from pipeline.common.atomic import replacing_directory
from pipeline.common.options import load_plugin
from pipeline.common.params import Section, read_section, read_value
from pipeline.common.tables import write_json, write_table
from pipeline.cost import meter as cost
from pipeline.evaluation import parts
from pipeline.evaluation.clean_predictions import remembered
from pipeline.evaluation.devices import Subject, Worker, device_names, spread, workers
from pipeline.evaluation.evaluate import (
    EvaluateParams,
    accuracies,
    evenly_spaced,
    joined,
    judge,
    prediction_columns,
    summary,
    training_overlap,
)
from pipeline.evaluation.interface import Outcome, Targets
from pipeline.evaluation.zero_shot_classifier import load_victim
from pipeline.images.classes import read_classes
from pipeline.images.image_set import (
    ImageSet,
    check_classes,
    checksum,
    content_files,
    dropped,
    open_images,
)
from pipeline.results.files import EVALUATION, PREDICTIONS
from pipeline.zeroshot import text_sets as embed
from stages.runner import stage


@stage("evaluate")
def main(
    dataset: Annotated[str, typer.Argument(help="a set of evaluate.datasets")],
    attack: Annotated[str, typer.Argument(help="an attack of evaluate.attacks")],
    texts: Annotated[str, typer.Argument(help="a text set of evaluate.texts")],
    shard: Annotated[
        str | None, typer.Option(help="i/n: attack one n-th of the images, for --merge n")
    ] = None,
    merge: Annotated[int | None, typer.Option(min=1, help="n: write what n shards found")] = None,
) -> None:
    """Attack the base and the fine-tuned model on the same images with the same starts."""
    cut = parts.read_cut(shard, merge)
    with workers(device_names()) as team:
        run(dataset, attack, texts, team, cut)


def run(dataset: str, attack: str, texts: str, team: list[Worker], cut: parts.Cut) -> None:
    """The whole stage; the attacks by `team` if there is one, or by the shards of `cut`."""
    params = read_section("evaluate", EvaluateParams)
    module, options = load_plugin("pipeline.attacks", "evaluate", "attacks", attack, params.options)
    device = pick_device()
    be_deterministic()
    check_precision(params.precision, "evaluate.precision", device)
    images = open_images(dataset)
    check_classes(images, "evaluate.datasets")
    ids = [entry.class_id for entry in images.classes]
    text_set, seen = embed.read_pair(texts, dataset, ids)
    numbers = evenly_spaced(len(images.labels), params.images)
    targets = Targets(images.pixels, numbers, images.labels[numbers])
    results: dict[str, Any] = {}
    notes: dict[str, str] = {}
    columns: dict[str, Any] = {name: [] for name in PREDICTIONS.names}
    examples = clean_examples(targets, params.examples)
    size, native = images.pixels.shape[-1], params.space == "native"
    origins = origins_of(params, options, dataset, texts, device) if cut else {}
    folder = parts.folder_of(dataset, texts, attack)
    meter = cost.Meter(device)
    for name, model in MODELS.items():
        load = partial(
            load_victim,
            model,
            text_set,
            seen,
            size,
            native,
            precision=params.precision,
            compiled=params.compile,
        )
        victim = load(device)
        if not team:
            meter.watch(victim.encoder, "float32")
            if victim.ascended is not None:
                meter.watch(victim.ascended, params.precision)
        content, config = checksum(dataset), clip.model_config(model)
        clean = remembered(victim, targets, params.batch_size, device, content, config)
        attacked = spread(team, module, Subject(load, dataset))
        attacked = parts.cut_run(cut, attacked, module, folder, name, origins)
        verdicts = judge(victim, module, options, targets, params, clean, device, attacked)
        if isinstance(cut, parts.Shard):
            continue
        part = prediction_columns(name, targets, verdicts)
        results[name] = accuracies(part) | judgement(verdicts.outcome, params.band)
        notes[name] = verdicts.outcome.note
        examples[name] = verdicts.outcome.perturbations
        for key in columns:
            columns[key].extend(part[key])
        print(summary(name, results[name], f"{dataset}, {module.TITLE}"), flush=True)
    if isinstance(cut, parts.Shard):
        print(f"{folder}: part {cut.part} of {cut.parts}", flush=True)
        return
    spent = meter.stop()
    about = threat_model(params, images, len(numbers)) | {
        "attack": attack,
        "title": module.TITLE,
        "options": options.model_dump(),
        "budget": module.budget(options),
        "note": joined(notes),
        "texts": {"name": texts, "templates": text_set.templates},
        "attacker": {"name": seen.name, "templates": seen.templates},
    }
    output = EVALUATION / dataset / texts / attack
    with replacing_directory(output) as out:
        write_table(out / "predictions.parquet", columns, PREDICTIONS)
        write_json(out / "metrics.json", about | results)
        # as bytes: safetensors' own writer hides a full disk behind an error of its own
        (out / "examples.safetensors").write_bytes(save(examples))
    if cut:  # what the shards cost is not known here
        scratch.clear(folder)
        return
    measured = cost.Run(
        f"evaluate@{dataset}-{attack}-{texts}",
        len(MODELS) * len(numbers),
        clip.model_config(MODEL),
        processes=len(team) or 1,
    )
    cost.record(measured, spent, device, output)


def origins_of(
    params: EvaluateParams, options: Section, dataset: str, texts: str, device: torch.device
) -> dict[str, str]:
    """What the verdicts of one evaluation come from, see `hash_origins`."""
    elsewhere = {"datasets", "attacks", "texts", "options", "checks", "strict"}
    used = [params.model_dump(exclude=elsewhere), options.model_dump()]
    models = [m / f for m in MODELS.values() for f in (clip.CONFIG_FILE, clip.WEIGHTS_FILE)]
    tables = [embed.FOLDER / part / texts / f"{dataset}.parquet" for part in ("texts", "attacker")]
    return hash_origins(used, [*content_files(dataset), *models, *tables], device)


def clean_examples(targets: Targets, count: int) -> dict[str, np.ndarray]:
    """Numbers and clean pixels of the images that are kept for the report."""
    shown = targets.numbers[evenly_spaced(len(targets.numbers), count)]
    return {"numbers": shown, "clean": targets.pixels[shown].astype(np.float32) / 255}


def judgement(outcome: Outcome, band: float) -> dict[str, Any]:
    """How many iterates were classified once more, in float32, and how far the margins of the
    attack's own forward were off; None where that is float32 too, and off by rounding alone."""
    difference = float(f"{outcome.largest_difference:.3g}") if band else None
    return {"judged": outcome.judged, "largest_margin_difference": difference}


def threat_model(params: EvaluateParams, images: ImageSet, attacked: int) -> dict[str, Any]:
    """What the attacker may do, and to which images, for metrics.json."""
    trained = read_classes(read_value("finetune.dataset", str))
    keys = ("norm", "epsilon_255", "space", "robust", "seed")
    return {
        **{key: getattr(params, key) for key in keys},
        "pixels": images.pixels.shape[-1],
        "precision": stated(params.precision, params.compile),
        "guard_band": params.band or None,
        "dataset": images.name,
        "images": attacked,
        "dropped": dropped(images.name),
        "classes": len(images.classes),
        "seen_in_training": training_overlap(images.classes, trained),
    }


if __name__ == "__main__":
    typer.run(main)

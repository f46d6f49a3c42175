"""Accuracy on one set under one attack: `python -m stages.evaluate <set> <attack> <text set>`.

Reads data/images/<set>/, data/embeddings/{texts,attacker}/<text set>/<set>.parquet,
data/base_model/ and data/model/; writes data/evaluation/<set>/<text set>/<attack>/:
predictions.parquet (one row per image and model), metrics.json and examples.safetensors (a
few perturbations, for the report).
"""

from typing import Annotated, Any

import numpy as np
import typer
from safetensors.numpy import save

from pipeline import clip, cost, embed
from pipeline.atomic import replacing_directory
from pipeline.attacks import Targets
from pipeline.classes import read_classes
from pipeline.device import be_deterministic, pick_device
from pipeline.evaluate import (
    EvaluateParams,
    accuracies,
    evenly_spaced,
    joined,
    judge,
    prediction_columns,
    summary,
    training_overlap,
)
from pipeline.images import ImageSet, check_classes, dropped, open_images
from pipeline.options import chosen
from pipeline.params import read_section, read_value
from pipeline.paths import EVALUATION, MODEL, MODELS
from pipeline.predictions import PREDICTIONS
from pipeline.tables import write_json, write_table
from pipeline.victim import load_victim
from stages.runner import stage


@stage("evaluate")
def main(
    dataset: Annotated[str, typer.Argument(help="a set of evaluate.datasets")],
    attack: Annotated[str, typer.Argument(help="an attack of evaluate.attacks")],
    texts: Annotated[str, typer.Argument(help="a text set of evaluate.texts")],
) -> None:
    """Attack the base and the fine-tuned model on the same images with the same starts."""
    params = read_section("evaluate", EvaluateParams)
    module, options = chosen("pipeline.attacks", "evaluate", "attacks", attack, params.options)
    device = pick_device()
    be_deterministic()
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
    meter = cost.Meter(device)
    for name, model in MODELS.items():
        victim = load_victim(model, text_set, seen, size, native, device)
        meter.watch(victim.encoder)
        verdicts = judge(victim, module, options, targets, params, device)
        part = prediction_columns(name, targets, verdicts)
        results[name] = accuracies(part)
        notes[name] = verdicts.outcome.note
        examples[name] = verdicts.outcome.perturbations
        for key in columns:
            columns[key].extend(part[key])
        print(summary(name, results[name], f"{dataset}, {module.TITLE}"), flush=True)
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
    folder = EVALUATION / dataset / texts / attack
    with replacing_directory(folder) as out:
        write_table(out / "predictions.parquet", columns, PREDICTIONS)
        write_json(out / "metrics.json", about | results)
        # as bytes: safetensors' own writer hides a full disk behind an error of its own
        (out / "examples.safetensors").write_bytes(save(examples))
    run = cost.Run(
        f"evaluate@{dataset}-{attack}-{texts}",
        len(MODELS) * len(numbers),
        clip.model_config(MODEL),
        cost.Precisions("float32", "float32"),
    )
    cost.record(run, spent, device, folder)


def clean_examples(targets: Targets, count: int) -> dict[str, np.ndarray]:
    """Numbers and clean pixels of the images that are kept for the report."""
    shown = targets.numbers[evenly_spaced(len(targets.numbers), count)]
    return {"numbers": shown, "clean": targets.pixels[shown].astype(np.float32) / 255}


def threat_model(params: EvaluateParams, images: ImageSet, attacked: int) -> dict[str, Any]:
    """What the attacker may do, and to which images, for metrics.json."""
    trained = read_classes(read_value("finetune.dataset", str))
    keys = ("norm", "epsilon_255", "space", "robust", "seed")
    return {
        **{key: getattr(params, key) for key in keys},
        "pixels": images.pixels.shape[-1],
        "precision": "float32",
        "dataset": images.name,
        "images": attacked,
        "dropped": dropped(images.name),
        "classes": len(images.classes),
        "seen_in_training": training_overlap(images.classes, trained),
    }


if __name__ == "__main__":
    typer.run(main)

"""Clean and adversarial accuracy on one set: `python -m stages.evaluate <set>`.

Reads data/images/<set>/, data/embeddings/classes/<set>.parquet, data/base_model/ and
data/model/; writes data/evaluation/<set>/: predictions.parquet (one row per image and
model), metrics.json and examples.safetensors (a few perturbations, for the report).
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.numpy import save

from pipeline import clip, embed, registry
from pipeline.atomic import replacing_directory
from pipeline.attacks import Targets
from pipeline.device import be_deterministic, pick_device
from pipeline.evaluate import (
    EvaluateParams,
    accuracies,
    evenly_spaced,
    judge,
    prediction_columns,
    summary,
    training_overlap,
)
from pipeline.images import open_images, read_classes
from pipeline.params import PARAMS_FILE, read_section, read_value
from pipeline.paths import BASE_MODEL, EVALUATION, MODEL
from pipeline.predictions import PREDICTIONS
from pipeline.tables import write_json, write_table
from stages.runner import stage

MODELS = {"base": BASE_MODEL, "finetuned": MODEL}


@stage("evaluate")
def main(dataset: Annotated[str, typer.Argument(help="a set of evaluate.datasets")]) -> None:
    """Attack the base and the fine-tuned model on the same images with the same starts."""
    params = read_section("evaluate", EvaluateParams)
    attack = registry.load("pipeline.attacks", params.attack, f"{PARAMS_FILE}: evaluate.attack")
    device = pick_device()
    be_deterministic()
    images = open_images(dataset)
    trained = read_classes(read_value("finetune.dataset", str))
    numbers = evenly_spaced(len(images.labels), params.images)
    targets = Targets(images.pixels, numbers, images.labels[numbers])
    text_file = embed.FOLDER / "classes" / f"{dataset}.parquet"
    texts = embed.read_embeddings(text_file, [entry.class_id for entry in images.classes])[:, 0]
    results: dict[str, Any] = {}
    columns: dict[str, Any] = {name: [] for name in PREDICTIONS.names}
    shown = numbers[evenly_spaced(len(numbers), params.examples)]
    clean = images.pixels[shown].astype(np.float32) / 255
    examples: dict[str, Any] = {"numbers": shown, "clean": clean}
    for name, folder in MODELS.items():
        classifier = load_classifier(folder, texts, images.pixels.shape[-1], device)
        verdicts = judge(classifier, attack, targets, params, device)
        part = prediction_columns(name, targets, verdicts)
        results[name] = accuracies(part)
        examples[name] = verdicts.outcome.perturbations
        for key in columns:
            columns[key].extend(part[key])
        print(summary(dataset, name, results[name], params), flush=True)
    overlap = training_overlap(images.classes, trained)
    metrics = describe_run(params, dataset, len(numbers), len(images.classes), overlap)
    with replacing_directory(EVALUATION / dataset) as out:
        write_table(out / "predictions.parquet", columns, PREDICTIONS)
        write_json(out / "metrics.json", metrics | results)
        # as bytes: safetensors' own writer hides a full disk behind an error of its own
        (out / "examples.safetensors").write_bytes(save(examples))


def load_classifier(
    folder: Path, texts: np.ndarray, size: int, device: torch.device
) -> clip.ImageClassifier:
    """The zero-shot classifier of a model folder, frozen, in float32."""
    loaded = clip.load(folder)
    encoder = clip.image_encoder(loaded)
    clip.check_fit(encoder, size, texts.shape[-1], str(folder))
    classifier = clip.ImageClassifier(encoder, torch.from_numpy(texts), clip.logit_scale(loaded))
    return classifier.requires_grad_(False).to(device).eval()


def describe_run(
    params: EvaluateParams, dataset: str, images: int, classes: int, seen: int
) -> dict[str, Any]:
    """What was attacked and how, for metrics.json."""
    keys = ("attack", "epsilon_255", "step_255", "robust", "seed")
    return {
        **{key: getattr(params, key) for key in keys},
        "steps": params.attack_steps,
        "dataset": dataset,
        "images": images,
        "classes": classes,
        "seen_in_training": seen,
        "templates": embed.read_templates(embed.FOLDER / "classes" / f"{dataset}.parquet"),
    }


if __name__ == "__main__":
    typer.run(main)

"""What is kept of a few images for the report: pixels, what the attack added, attention maps."""

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.model import to_float_pixels
from pipeline.evaluation.attention import has_patches, label_attention
from pipeline.evaluation.interface import Outcome, Targets
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.splits.even_choice import evenly_spaced


def kept_examples(
    classifier: ZeroShotClassifier,
    targets: Targets,
    outcome: Outcome,
    params: EvaluateParams,
) -> dict[str, np.ndarray]:
    """The arrays of examples.safetensors, of `params.examples` images at most; see
    `pipeline.results.examples`.

    Args:
        outcome: of the attack, with the perturbations of these images.
    """
    rows = evenly_spaced(len(targets.numbers), params.examples)
    numbers, device = targets.numbers[rows], classifier.class_features.device
    pixels, labels = targets.pixels[numbers], torch.from_numpy(targets.labels[rows]).long()
    clean = to_float_pixels(pixels, device)
    attacked = (clean + torch.from_numpy(outcome.perturbations).to(device)).clamp(0, 1)
    maps = (
        _maps(classifier, images, labels.to(device), params.batch_size)
        for images in (clean, attacked)
    )
    return {
        "numbers": numbers,
        "clean": pixels.astype(np.float32) / 255,
        "perturbation": outcome.perturbations,
        **dict(zip(("clean_attention", "adversarial_attention"), maps, strict=True)),
    }


def _maps(
    classifier: ZeroShotClassifier, images: Tensor, labels: Tensor, batch_size: int
) -> np.ndarray:
    """float16 (E, rows, columns) in [0, 1]; (E, 0, 0) where tokens are no patches."""
    if not has_patches(classifier):
        return np.zeros((len(images), 0, 0), dtype=np.float16)
    parts = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    maps = [label_attention(classifier, part, of_part) for part, of_part in parts if len(part)]
    empty = images.new_zeros((0, *classifier.encoder.grid))
    return torch.cat([empty, *maps]).half().cpu().numpy()

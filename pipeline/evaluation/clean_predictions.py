"""Predictions on unperturbed images, made once per model, image set and text set.

Every attack on a set begins with them. They are kept in
    $DVC_ROOT/.scratch/clean/<hash>.npz
by a hash of all that they depend on, so that a second attack does not encode the images again.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch

from pipeline.clip.device import arithmetic
from pipeline.common.atomic import replacing_file
from pipeline.common.scratch import loaded_code
from pipeline.evaluation.finite_margins import check_finite_margins
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.verdicts import verdict
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

BROKEN = (OSError, ValueError, LookupError, EOFError, OverflowError, MemoryError, RecursionError,
          NotImplementedError, TypeError)  # fmt: skip
# the files of this package that decide a verdict
LAUNCHING = ("cuda_graph.py",)  # loaded by some attacks
CLASSIFYING = ("clean_predictions.py", "interface.py", "verdicts.py", "zero_shot_classifier.py")


class Clean(NamedTuple):
    """prediction: int32 (N,); margin, confidence: float32 (N,), see `interface.margins` and
    `interface.confidences`."""

    prediction: np.ndarray
    margin: np.ndarray
    confidence: np.ndarray


@torch.no_grad()
def clean_predictions(
    classifier: ZeroShotClassifier, targets: Targets, batch_size: int, device: torch.device
) -> Clean:
    """Classify the unperturbed images, in float32.

    Raises:
        UserError: a margin is not finite.
    """
    batches = targets.batches(batch_size, device)
    verdicts = [verdict(classifier(images), labels) for images, labels in batches]
    prediction, _, margin, confidence = map(np.concatenate, zip(*verdicts, strict=True))
    check_finite_margins(margin, targets.numbers, classifier.where)
    return Clean(prediction.astype(np.int32), margin, confidence)


def cached_clean_predictions(
    classifier: ZeroShotClassifier,
    targets: Targets,
    batch_size: int,
    device: torch.device,
    content: str,
    model_cfg: Mapping[str, Any],
) -> Clean:
    """`clean_predictions`, or the stored result of an earlier call with the same arguments.

    Args:
        content: a checksum of the set's pixels.
        model_cfg: open_clip's, of the classifier's encoder: activation and heads are in no weight.
    """
    config = json.dumps(model_cfg, sort_keys=True)
    key = _key(classifier, targets, f"{content} {batch_size} {arithmetic(device)} {config}")
    path = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / "clean" / f"{key}.npz"
    kept = _read(path, len(targets.labels))
    if kept is None:
        kept = clean_predictions(classifier, targets, batch_size, device)
        with replacing_file(path) as partial, partial.open("wb") as file:
            np.savez(file, **kept._asdict())
    return kept


def _read(path: Path, count: int) -> Clean | None:
    """None where there is no file, or it cannot be read or used: it is then computed again."""
    try:
        with np.load(path) as arrays:
            kept = Clean(**{name: arrays[name] for name in Clean._fields})
            usable = all(values.shape == (count,) for values in kept)
            usable = usable and all(bool(np.isfinite(values).all()) for values in kept)
    except (*BROKEN, zipfile.BadZipFile, zlib.error):
        return None
    return kept if usable else None


def _key(classifier: ZeroShotClassifier, targets: Targets, conditions: str) -> str:
    """32 hex digits over weights, texts, images, labels, code and what the last bits depend on."""
    scale = f"{classifier.scale!r} {classifier.resize} {torch.__version__} {open_clip.__version__}"
    digest = hashlib.sha256(f"{conditions} {scale}".encode())
    encoder = classifier.encoder
    for tensor in [
        *encoder.state_dict().values(),
        encoder.mean,
        encoder.std,
        classifier.class_features,
    ]:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    for array in (targets.numbers, targets.labels):
        digest.update(np.ascontiguousarray(array).data)
    for file in classifying_code():
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def classifying_code() -> list[Path]:
    """The loaded code but for the attacks', which differs from attack to attack and classifies
    nothing."""
    attacking = ("attacks", "evaluation")
    return [
        file
        for file in loaded_code()
        if file.name in CLASSIFYING
        or (file.parent.name not in attacking and file.name not in LAUNCHING)
    ]

"""Predictions on unperturbed images, made once per model, image set and text set.

Every attack on a set begins with them. They are kept in
    $DVC_ROOT/.scratch/clean/<hash>.npz
by a hash of all that they depend on, so that a second attack does not encode the images again.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch

from pipeline.clip.device import arithmetic
from pipeline.common.atomic import replacing_file
from pipeline.common.scratch import loaded_code
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.verdicts import verdict
from pipeline.evaluation.zero_shot_classifier import Victim

# the files of this package that decide a verdict
CLASSIFYING = ("clean_predictions.py", "interface.py", "verdicts.py", "zero_shot_classifier.py")


class Clean(NamedTuple):
    """prediction: int32 (N,); margin: float32 (N,), see `interface.margins`."""

    prediction: np.ndarray
    margin: np.ndarray


@torch.no_grad()
def clean_predictions(
    victim: Victim, targets: Targets, batch_size: int, device: torch.device
) -> Clean:
    """Classify the unperturbed images, in float32."""
    batches = targets.batches(batch_size, device)
    verdicts = [verdict(victim(images), labels) for images, labels in batches]
    prediction = np.concatenate([part.prediction for part in verdicts]).astype(np.int32)
    return Clean(prediction, np.concatenate([part.margin for part in verdicts]))


def remembered(
    victim: Victim,
    targets: Targets,
    batch_size: int,
    device: torch.device,
    content: str,
    model_cfg: Mapping[str, Any],
) -> Clean:
    """`clean_predictions`, or what an earlier call with the same arguments gave.

    Args:
        content: a checksum of the set's pixels.
        model_cfg: open_clip's, of the victim's encoder: activation and heads are in no weight.
    """
    config = json.dumps(model_cfg, sort_keys=True)
    key = _key(victim, targets, f"{content} {batch_size} {arithmetic(device)} {config}")
    path = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / "clean" / f"{key}.npz"
    kept = _read(path, len(targets.labels))
    if kept is None:
        kept = clean_predictions(victim, targets, batch_size, device)
        with replacing_file(path) as partial, partial.open("wb") as file:
            np.savez(file, **kept._asdict())
    return kept


def _read(path: Path, count: int) -> Clean | None:
    """None where there is nothing, or nothing that can be read: it is then made again."""
    try:
        with np.load(path) as arrays:
            kept = Clean(arrays["prediction"], arrays["margin"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return kept if kept.prediction.shape == kept.margin.shape == (count,) else None


def _key(victim: Victim, targets: Targets, rest: str) -> str:
    """32 hex digits over weights, texts, images, labels, code and what the last bits depend on."""
    scale = f"{victim.scale!r} {victim.resize} {torch.__version__} {open_clip.__version__}"
    digest = hashlib.sha256(f"{rest} {scale}".encode())
    encoder = victim.encoder
    for tensor in [*encoder.state_dict().values(), encoder.mean, encoder.std, victim.classifier]:
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
    return [f for f in loaded_code() if f.parent.name not in attacking or f.name in CLASSIFYING]

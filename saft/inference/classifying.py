"""Zero-shot classification of preprocessed images."""

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import model as clip_model
from pipeline.clip.model import BROKEN, Clip, to_float_pixels
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.errors import UserError
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.zeroshot.text_sets import TextSet
from saft.inference.labels import Labels
from saft.inference.models import Model

BATCH = 64
CPU = torch.device("cpu")


def encoded(clip: Clip, labels: Labels, device: torch.device = CPU) -> TextSet:
    """The texts of the classes, encoded by the model, which moves to the device."""
    features = encode_texts(clip, labels.table.texts, device).numpy()
    captions = features.reshape(len(labels.classes), -1, features.shape[1])
    return TextSet(labels.table.name, labels.table.templates, captions)


def classifier(model: Model, labels: Labels) -> ZeroShotClassifier:
    """The model as a frozen classifier; an attacker sees the texts that classify."""
    texts = encoded(model.clip, labels, model.device)
    features = torch.from_numpy(texts.class_features)
    captions = torch.from_numpy(texts.captions)
    scale = clip_model.logit_scale(model.clip)
    whole = ZeroShotClassifier(
        model.encoder, features, features, captions, scale, where=model.clip.where
    )
    return whole.requires_grad_(False).to(model.device).eval()


@torch.no_grad()
def probabilities(whole: ZeroShotClassifier, images: Tensor) -> np.ndarray:
    """float32 (N, C), rows sum to 1: of float32 (N, 3, S, S) pixels in [0, 1].

    Raises:
        UserError: a logit is not finite.
    """
    logits = torch.cat([whole(part) for part in images.split(BATCH)])
    if not logits.isfinite().all():
        raise UserError(f"{whole.where}: gives logits that are not finite; {BROKEN}")
    return logits.softmax(1).cpu().numpy()


def probabilities_of(whole: ZeroShotClassifier, pixels: np.ndarray) -> np.ndarray:
    """The same of uint8 (N, 3, S, S) pixels."""
    device = whole.class_features.device
    parts = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    return np.concatenate([probabilities(whole, to_float_pixels(part, device)) for part in parts])

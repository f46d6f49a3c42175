"""The tests' tiny CLIP on disk, and classifiers that can be attacked."""

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP
from torch import nn
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.clip.model import ImageEncoder
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from tests import conftest

SCALE = 20.0
TINY_SIZE = 64  # pixels; features of smaller images are computed on the CPU


def tiny_folder(parent: Path) -> Path:
    """An untrained open_clip folder below `parent`, as the tests' fixture `clip_folder`."""
    torch.manual_seed(0)
    model = CLIP(**conftest.MODEL_CFG)
    nn.init.normal_(model.visual.conv1.weight, std=0.5)
    path = Path(tempfile.mkdtemp(dir=parent)) / "model"
    preprocess = clip.preprocess_config(size=conftest.SIZE)
    clip.save(model, {"model_cfg": conftest.MODEL_CFG, "preprocess_cfg": preprocess}, path)
    return path


def make_classifier(
    encoder: ImageEncoder,
    classes: int,
    images: int,
    size: int,
    device: torch.device,
    resize: bool = False,
) -> tuple[ZeroShotClassifier, Targets]:
    """A frozen classifier whose class texts are centred features of the first images, and random
    images that it classifies rightly: they can be attacked. Features of a tiny model come from the
    CPU, so that the classifiers of two devices hold the same texts."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, size, size), dtype=np.uint8)
    where = torch.device("cpu") if size < TINY_SIZE else device
    empty = torch.zeros(1)
    classifier = ZeroShotClassifier(copy.deepcopy(encoder), empty, empty, empty, SCALE, resize)
    classifier.requires_grad_(False).to(where).eval()
    with torch.no_grad():
        parts = np.array_split(pixels, max(1, images // 64))
        features = torch.cat(
            [classifier.features(clip.to_float_pixels(p, where)).cpu() for p in parts]
        )
    centred = F.normalize(features - features.mean(0), dim=-1)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(classes, 2, features.shape[1], generator=generator)
    captions = F.normalize(centred[:classes, None] + noise, dim=-1)
    plain = F.normalize(captions.mean(1), dim=-1)
    classifier.class_features, classifier.attacker_features, classifier.attacker_captions = (
        plain,
        plain.clone(),
        captions,
    )
    labels = (features @ plain.T).argmax(1)
    return classifier.to(device), Targets(pixels, np.arange(images), labels.numpy())

"""What `benchmarks.scaling` times: an epoch of SAFT's training, or PGD on all images.

A vision transformer of the demo's size with random weights, random texts and random pixels: the
cost depends on none of them, for no image is dropped from the attack.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from open_clip.model import CLIP
from torch.nn import functional as F

from benchmarks.setting import Setting
from pipeline.attacks import pgd
from pipeline.clip import model as clip
from pipeline.evaluation import interface as attacks
from pipeline.evaluation.devices import Worker, distribute, workers
from pipeline.evaluation.worker import Subject
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.images.classes import CLASSES, ClassEntry
from pipeline.images.decoding import Decoded
from pipeline.images.image_set import IMAGES, ImageSource, SourceImage
from pipeline.methods import saft
from pipeline.prepare.pack import pack
from pipeline.training.loop import Resume, finetune
from pipeline.training.objective import MethodInputs
from pipeline.training.recipe import Recipe

BATCH = 32
SET = "random"  # the image set of several processes
MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 9, "width": 32, "heads": 2, "layers": 1},
}
SIDE, WIDTH, EPSILON_255 = 32, 128, 4
PARAMS = saft.Params(
    learning_rate=None, attention_refinement=1.0, attention_constraint=1.0, attention_norm="token"
)


class Work(NamedTuple):
    """A training of one epoch (iterates 0) or an attack of so many iterates in `processes`."""

    images: int = 64
    classes: int = 100
    captions: int = 5
    steps: int = 2
    iterates: int = 0
    processes: int = 1


class Took(NamedTuple):
    """Seconds: of this process on the CPU, and on the clock."""

    processor: float
    passed: float


class Clock:
    """Runs from its creation."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = Took(time.process_time(), time.perf_counter())

    def read(self) -> Took:
        """Once the device has done all that it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        processor, passed = self._started
        return Took(time.process_time() - processor, time.perf_counter() - passed)


def recipe_of(work: Work) -> Recipe:
    """SAFT as published, on batches of BATCH."""
    setting = Setting(
        model="", model_config=None, pretrained=None, classes=work.classes,
        captions=work.captions, batch_size=BATCH, attack_steps=work.steps,
        epsilon_255=EPSILON_255, step_255=1.0, seed=0, device="",
    )  # fmt: skip
    return replace(setting.recipe(), epochs=1)


def encoder_of(device: torch.device) -> clip.ImageEncoder:
    """Random weights, always the same."""
    torch.manual_seed(0)
    model = CLIP(**MODEL).eval()
    return clip.ImageEncoder(model.visual, (0.5,) * 3, (0.5,) * 3).to(device).eval()


def texts_of(work: Work, device: torch.device) -> torch.Tensor:
    """Random unit vectors (C, K, D)."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(work.classes, work.captions, WIDTH, generator=generator)
    return F.normalize(drawn, dim=-1).to(device)


def pixels_of(work: Work) -> np.ndarray:
    """Random pixels (N, 3, 32, 32)."""
    shape = (work.images, 3, SIDE, SIDE)
    return np.random.default_rng(2).integers(0, 256, size=shape, dtype=np.uint8)


def classifier_of(work: Work, device: torch.device) -> ZeroShotClassifier:
    """The classifier that is attacked."""
    texts = texts_of(work, device)
    classes = F.normalize(texts.mean(1), dim=-1)
    classifier = ZeroShotClassifier(encoder_of(device), classes, classes, texts, 100.0)
    return classifier.requires_grad_(False).to(device).eval()


def train(work: Work, device: torch.device) -> Took:
    """An epoch."""
    encoder, texts = encoder_of(device), texts_of(work, device)
    labels = np.arange(work.images) % work.classes
    pixels = pixels_of(work)
    inputs = MethodInputs(encoder, texts, texts[:, 0], 100.0, pixels, labels, BATCH)
    objective = saft.build(PARAMS, inputs)
    for weight in encoder.visual.parameters():  # away from where the constraint has no gradient
        weight.data.mul_(1.01)
    resume = Resume(None, lambda _: None, lambda _: False)
    clock = Clock(device)
    for _ in finetune(encoder, objective, pixels, labels, recipe_of(work), device, resume):
        pass
    return clock.read()


def attack(work: Work, device: torch.device) -> Took:
    """PGD on all images, each to its last iterate."""
    labels = np.arange(work.images) % work.classes
    pixels = pixels_of(work)
    targets = attacks.Targets(pixels, np.arange(work.images), labels)
    settings = attacks.Settings(
        "linf", EPSILON_255 / 255, BATCH, 0, np.ones(work.images, bool), np.arange(0), device
    )
    options = pgd.Params(
        steps=work.iterates, step_255=1.0, restarts=1, random_start=True, momentum=0.0
    )
    classifier = classifier_of(work, device)
    with team_of(work, device) as team:
        run = distribute(team, pgd, Subject(partial(classifier_of, work), SET))
        run(
            classifier, targets, options.model_copy(update={"steps": 1}), settings
        )  # loads everything
        clock = Clock(device)
        run(classifier, targets, options, settings)
        return clock.read()


@contextmanager
def team_of(work: Work, device: torch.device) -> Iterator[list[Worker]]:
    """The processes, in a folder where they find the pixels; none where one is asked for."""
    if work.processes == 1:
        yield []
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        pack_pixels(work)
        with workers([str(device)] * work.processes) as team:
            yield team


def pack_pixels(work: Work) -> None:
    """Write the pixels as an image set into the current folder."""
    pixels, classes = pixels_of(work), min(work.classes, work.images)
    source = ImageSource(
        classes=[ClassEntry(str(label), str(label)) for label in range(classes)],
        items=[SourceImage(number % classes, str(number)) for number in range(work.images)],
        size=SIDE,
        decode=lambda number: Decoded(pixels[number]),
    )
    pack(source, SET, IMAGES / SET, CLASSES / f"{SET}.parquet")

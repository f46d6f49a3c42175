"""Tiny zero-shot classifiers and image sets to attack, shared by the tests of the attacks."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from ruamel.yaml import YAML
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.clip.folders import BASE, FINETUNED, clip_folder
from pipeline.common import registry
from pipeline.common.options import load_plugin
from pipeline.common.params import Section, read_params
from pipeline.common.tables import write_table
from pipeline.embeddings.encoded import write_encoded
from pipeline.embeddings.templates import fill
from pipeline.evaluation.interface import Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.images.classes import CHECKED, CLASSES, EVALUATED, read_classes
from pipeline.zeroshot.text_sets import pair_files
from tests.support.project import DEMO

CPU = torch.device("cpu")
NAMES = registry.names("pipeline.attacks")
LIBRARY = [name for name in NAMES if name.startswith("autoattack")]
OURS = [name for name in NAMES if name not in LIBRARY]
SIZE, FIRST = 6, 5


class Pooled(NamedTuple):
    pooled: Tensor


class Net(nn.Module):
    """Pixels (B, 3, S, S) -> unit-norm features (B, D) by two smooth layers, in float64: what
    else is in the batch then moves no bit that float32 keeps, and results can be compared."""

    def __init__(self, size: int = SIZE, width: int = 24, seed: int = 0):
        super().__init__()
        self.image_size = size
        rng = np.random.default_rng(seed)
        shapes = [(3 * size * size, 64), (64, width)]
        first, second = (rng.normal(size=s) * 2 / s[0] ** 0.5 for s in shapes)
        self.first, self.second = (nn.Parameter(torch.from_numpy(w)) for w in (first, second))

    def forward(self, images: Tensor) -> Pooled:
        hidden = torch.tanh((images.double() - 0.5).flatten(1) @ self.first)
        return Pooled(F.normalize(hidden @ self.second, dim=-1))


class Hand(nn.Module):
    """An encoder whose features are any function of the pixels."""

    image_size: int

    def __init__(self, features: Callable[[Tensor], Tensor], size: int = SIZE):
        super().__init__()
        self.features, self.image_size = features, size

    def forward(self, images: Tensor) -> Pooled:
        return Pooled(self.features(images))


def make_targets(count: int, classes: int, seed: int = 0, size: int = SIZE) -> Targets:
    """Random pixels away from nothing: many are close to 0 and 1; numbers begin at FIRST."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, size=(FIRST + count, 3, size, size), dtype=np.uint8)
    return Targets(pixels, np.arange(FIRST, FIRST + count), np.arange(count) % classes)


def fit(
    encoder: Any,
    targets: Targets,
    scale: float = 20.0,
    captions: int = 1,
    classes: int = 0,
    device: torch.device = CPU,
) -> ZeroShotClassifier:
    """A classifier whose class features are the mean features of each class's images, so that it
    is mostly right and can be attacked; `captions` texts around each; gradients in no weight.
    Fitted on the CPU, the same on every device, and then moved."""
    images = targets.read(slice(None), CPU)[0]
    with torch.no_grad():
        features = encoder(images).pooled
    centred = features - features.mean(0)
    labels = torch.from_numpy(targets.labels)
    count = classes or int(labels.max()) + 1
    means = torch.stack([centred[labels == c].mean(0) for c in range(count)])
    noise = torch.randn(
        count, captions, means.shape[1], generator=torch.Generator().manual_seed(1)
    ).to(means)
    texts = F.normalize(F.normalize(means, dim=-1)[:, None] + (captions > 1) * 0.1 * noise, dim=-1)
    plain = F.normalize(texts.mean(1), dim=-1)
    classifier = ZeroShotClassifier(encoder, plain, plain.clone(), texts, scale)
    return classifier.requires_grad_(False).eval().to(device)


def on(classifier: ZeroShotClassifier, device: torch.device) -> ZeroShotClassifier:
    """A copy of the classifier on `device`."""
    return copy.deepcopy(classifier).to(device)


def only_right(classifier: ZeroShotClassifier, targets: Targets) -> Targets:
    """The targets that the classifier classifies rightly before anything is done to them."""
    images, labels = targets.read(slice(None), classifier.class_features.device)
    right = (classifier(images).argmax(1) == labels).cpu().numpy()
    return Targets(targets.pixels, targets.numbers[right], targets.labels[right])


def settings(count: int, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "norm": "linf",
        "epsilon": 8 / 255,
        "batch_size": 64,
        "seed": 0,
        "follow": np.zeros(count, dtype=bool),
        "examples": np.zeros(0, dtype=np.int64),
        "device": CPU,
    }
    return Settings(**(values | changes))


def attack(name: str, **changes: Any) -> tuple[Any, Section]:
    """An attack and its options in the demo, with a few steps; `changes` where it has them."""
    options: dict[str, dict[str, Any]] = read_params(DEMO)["evaluate"]["options"]
    short_options = {"steps": 8, "step_255": 2.0, "targets": 3, "confidence": 1.0} | changes
    options[name] |= {key: value for key, value in short_options.items() if key in options[name]}
    return load_plugin("pipeline.attacks", "evaluate", "attacks", name, options)


def evaluate_params(**changes: Any) -> dict[str, Any]:
    """Section evaluate of the demo with `changes`."""
    return read_params(DEMO)["evaluate"] | changes


def write_params(folder: Path, **changes: Any) -> None:
    """The demo's params.yaml turned towards the set "tiny"; keys are "section.key"."""
    yaml = YAML()
    values = yaml.load(DEMO.read_text())
    defaults = {"finetune.dataset": "tiny", "evaluate.datasets": ["tiny"]}
    defaults["evaluate.checks.datasets"] = ["tiny"]
    for key, value in (defaults | changes).items():
        *path, name = key.split(".")
        section = values
        for part in path:
            section = section[part]
        section[name] = value
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)


class Counting(nn.Module):
    """An encoder that notes every batch it is given."""

    def __init__(self, encoder: Any):
        super().__init__()
        self.encoder, self.image_size = encoder, encoder.image_size
        self.batches: list[Tensor] = []

    @property
    def images(self) -> int:
        return sum(len(batch) for batch in self.batches)

    def forward(self, images: Tensor) -> Any:
        self.batches.append(images.detach().clone())
        return self.encoder(images)


def tiny_project(folder: Path, weights: Path) -> Path:
    """Both models and the texts of text set "template" for conftest's packed set "tiny"; the
    attacker sees other texts, those of "unseen"."""
    for copies in (EVALUATED, CHECKED):
        shutil.copytree(folder / CLASSES, folder / copies)
    for model in (BASE, FINETUNED):
        shutil.copytree(weights, folder / clip_folder(model))
    classes = read_classes("tiny")
    rng = np.random.default_rng(1)  # the untrained model then takes all for a class, not the first

    def encode(texts: list[str]) -> np.ndarray:
        vectors = rng.normal(size=(len(texts), 16)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    texts = [fill("template", classes, ["a {}"]), fill("unseen", classes, ["the {}"])]
    vectors = {table.texts[0]: encode(table.texts) for table in texts}
    for model in (BASE, FINETUNED):  # whose text towers are equal
        for path, table in zip(pair_files(model, "template", "tiny"), texts, strict=True):
            write_encoded(path, table, lambda texts: vectors[texts[0]])
    return folder


def keep_one_class() -> None:
    """Let every image of set "tiny" be of its first class, and that be the only one."""
    first = read_classes("tiny")[0]
    file = Path("data/classes/tiny.parquet")
    one = {"label": [0], "class_id": [first.class_id], "name": [first.name]}
    write_table(file, one, pq.read_schema(file))
    file = Path("data/images/tiny/items.parquet")
    items = pq.read_table(file)
    write_table(file, items.to_pydict() | {"label": [0] * len(items)}, items.schema)

"""How often a method sends images through the encoder, found by one step of it on a tiny model.

So no table of methods has to be kept, and a new method is estimated like the others.
"""

import contextlib
import io
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from open_clip.transformer import VisionTransformer

from pipeline.clip.model import Features, ImageEncoder
from pipeline.training.objective import Batch, MethodInputs, MethodParams

IMAGES, BATCH, CLASSES, CAPTIONS, WIDTH = 7, 3, 5, 2, 16
SIDE, PATCH = 8, 4
# length of a row that a method keeps for every training image -> what it is
ROWS = {(SIDE // PATCH) ** 2: "patches", CLASSES: "classes", WIDTH: "width"}


class Passes(NamedTuple):
    """Per image of a batch: `graph` images that are encoded for the gradient of the weights, and
    `plain` ones without; setup: passes over the training set before the first step; copies: of
    the encoder that are kept; rows: what is kept per training image ("patches": the T patches,
    "classes": a number per class, "width": the joint width)."""

    graph: float
    plain: float
    setup: float
    copies: int
    rows: tuple[str, ...]


def passes(method: ModuleType, options: MethodParams) -> Passes:
    """Build the method's objective on a tiny random encoder and take its losses once."""
    with contextlib.redirect_stderr(io.StringIO()), torch.random.fork_rng():  # progress bars
        encoder, seen = _encoder()
        objective = method.build(options, _setup(encoder))
        setup = sum(count for count, _ in seen)
        seen.clear()
        images, labels = torch.rand(BATCH, 3, SIDE, SIDE), torch.arange(BATCH)
        objective.losses(encoder, images, Batch(images, labels, torch.arange(BATCH)))
    kept = list(vars(objective).values())
    stored = [v for v in kept if isinstance(v, torch.Tensor) and v.shape[:1] == (IMAGES,)]
    return Passes(
        graph=sum(count for count, graph in seen if graph) / BATCH,
        plain=sum(count for count, graph in seen if not graph) / BATCH,
        setup=setup / IMAGES,
        copies=sum(isinstance(value, ImageEncoder) for value in kept),
        rows=tuple(ROWS[v[0].numel()] for v in stored if v[0].numel() in ROWS),
    )


def _encoder() -> tuple[ImageEncoder, list[tuple[int, bool]]]:
    """And the list of (images, with a graph) that each forward of it, or of a copy, joins."""
    visual = VisionTransformer(SIDE, PATCH, 16, 1, 1, 2.0, output_dim=WIDTH)
    encoder = ImageEncoder(visual, (0.5,) * 3, (0.5,) * 3).eval()
    seen: list[tuple[int, bool]] = []

    def count(_: object, __: object, found: Features) -> None:
        seen.append((len(found.embedding), found.embedding.requires_grad))

    encoder.register_forward_hook(count)  # copies of the encoder keep the hook
    return encoder, seen


def _setup(encoder: ImageEncoder) -> MethodInputs:
    texts = torch.nn.functional.normalize(torch.rand(CLASSES, CAPTIONS, WIDTH), dim=-1)
    return MethodInputs(
        encoder=encoder,
        texts=texts,
        template=texts[:, 0],
        scale=100.0,
        pixels=np.zeros((IMAGES, 3, SIDE, SIDE), dtype=np.uint8),
        labels=np.arange(IMAGES) % CLASSES,
        batch_size=BATCH,
    )

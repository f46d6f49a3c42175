"""How often a method sends images through the encoder, counted in one step of it on a tiny model.

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
from pipeline.training.augmentation import Augmentation
from pipeline.training.objective import Batch, MethodInputs, MethodParams, Objective, PerImage

IMAGES, BATCH, CLASSES, CAPTIONS, WIDTH = 7, 3, 5, 2, 16
SIDE, PATCH = 8, 4


class EncoderPasses(NamedTuple):
    """Per image of a batch: `graph` images that are encoded for the gradient of the weights, and
    `plain` ones without; setup: passes over the training set before the first step; copies: of
    the encoder that are kept; kept_per_image: what is stored of every training image, as the
    objective declares it."""

    graph: float
    plain: float
    setup: float
    copies: int
    kept_per_image: tuple[PerImage, ...]


def measure_passes(
    method: ModuleType, options: MethodParams, augmentation: Augmentation = "none"
) -> EncoderPasses:
    """Build the method's objective on a tiny random encoder and take its losses once."""
    with contextlib.redirect_stderr(io.StringIO()), torch.random.fork_rng():  # progress bars
        encoder, forwards = counting_encoder()
        inputs = tiny_inputs(encoder, options)._replace(augmentation=augmentation)
        objective = method.build(options, inputs)
        setup = sum(count for count, _ in forwards)
        forwards.clear()
        images, labels = torch.rand(BATCH, 3, SIDE, SIDE), torch.arange(BATCH)
        batch = Batch(images, labels, torch.arange(BATCH))
        if objective.base:
            batch = objective.base.fill(batch)
        objective.losses(encoder, images, batch)
    return EncoderPasses(
        graph=sum(count for count, graph in forwards if graph) / BATCH,
        plain=sum(count for count, graph in forwards if not graph) / BATCH,
        setup=setup / IMAGES,
        copies=sum(isinstance(value, ImageEncoder) for value in _kept(objective)),
        kept_per_image=objective.kept_per_image,
    )


def _kept(objective: Objective) -> list[object]:
    """What an objective and its base outputs hold."""
    return [*vars(objective).values(), *(vars(objective.base).values() if objective.base else ())]


def counting_encoder() -> tuple[ImageEncoder, list[tuple[int, bool]]]:
    """A random encoder of 8 x 8 pixels, and a list to which each forward of it, or of a copy of
    it, appends (number of images, whether with a graph)."""
    visual = VisionTransformer(SIDE, PATCH, 16, 1, 1, 2.0, output_dim=WIDTH)
    encoder = ImageEncoder(visual, (0.5,) * 3, (0.5,) * 3).eval()
    forwards: list[tuple[int, bool]] = []

    def count(_: object, __: object, features: Features) -> None:
        forwards.append((len(features.embedding), features.embedding.requires_grad))

    encoder.register_forward_hook(count)  # copies of the encoder keep the hook
    return encoder, forwards


def tiny_inputs(encoder: ImageEncoder, options: MethodParams) -> MethodInputs:
    """Random texts, captions and black images for `counting_encoder`; whatever an option names is a
    text set."""
    texts = torch.nn.functional.normalize(torch.rand(CLASSES, CAPTIONS, WIDTH), dim=-1)
    return MethodInputs(
        encoder=encoder,
        texts=texts,
        template=texts[:, 0],
        scale=100.0,
        pixels=np.zeros((IMAGES, 3, SIDE, SIDE), dtype=np.uint8),
        labels=np.arange(IMAGES) % CLASSES,
        batch_size=BATCH,
        others={str(name): texts[:, :1] for name in options.model_dump().values()},
        captions=texts[torch.arange(IMAGES) % CLASSES, 0],
    )

"""A small CLIP trained from scratch on a packed image set, for machines without network.

Captions of a class are those its images bring along, the sentences of a caption file, and
`templates` filled with its name, all with equal chance.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP
from pydantic import Field

from pipeline.clip.model import preprocess_config
from pipeline.common.bounds import (
    MOST,
    Count,
    CountOrZero,
    Few,
    Name,
    PathText,
    Rate,
    Seed,
    Weight,
    Width,
)
from pipeline.common.errors import UserError
from pipeline.common.params import Section, Template
from pipeline.common.progress import track
from pipeline.images.classes import fill_templates
from pipeline.images.image_set import ImageSet, open_images
from pipeline.models.caption_files import captions_by_class, read_sentences
from pipeline.models.contrastive import pretrain_steps

FOLDER = Path("data/inputs/models/pretrain")  # an open_clip folder for each entry
ORIGIN = "origin.json"
VOCABULARY = 49408  # of open_clip's own tokenizer


class PretrainParams(Section):
    """An entry of section `pretrain` of params.yaml, where every key is explained."""

    dataset: Name
    seed: Seed
    patch_size: int = Field(ge=1, le=2**13)
    width: Width
    """Width of the image transformer; heads are 32 wide."""
    layers: Few
    text_width: Width
    text_layers: Few
    context_length: int = Field(ge=8, le=77)
    """Text length in tokens; longer texts are cut by the tokenizer."""
    embed_dim: int = Field(ge=16, le=2**16)
    steps: Count
    batch_size: int = Field(ge=2, le=MOST)
    learning_rate: Rate
    weight_decay: Weight
    warmup_steps: CountOrZero
    captions: PathText
    """JSON or Parquet file of sentences keyed by class id or exact name; classes that it
    does not name have only the other captions."""
    templates: list[Template] = Field(min_length=1)
    """Captions made from the class name, with one {} each."""


class Pretrained(NamedTuple):
    """A model with the open_clip folder's config {"model_cfg", "preprocess_cfg"}; log: the
    pretraining curve (step, loss)."""

    model: CLIP
    config: dict[str, Any]
    log: list[tuple[int, float]]


def pretrain(name: str, params: PretrainParams, device: torch.device) -> Pretrained:
    """Train the model `name` of section `pretrain`; it is in eval mode on the CPU.

    Raises:
        UserError: patches do not tile the images, or the loss is not finite.
    """
    images = open_images(params.dataset)
    size = images.pixels.shape[-1]
    if size % params.patch_size:
        raise UserError(
            f"pretrain.{name}: patches of {params.patch_size} pixels do not tile images of {size}; "
            "change its patch_size"
        )
    config = model_config(params, size)
    torch.manual_seed(params.seed)
    model = CLIP(**config).to(device)
    preprocess = preprocess_config(size=size)
    mean = torch.tensor(preprocess["mean"], device=device).view(1, 3, 1, 1)
    std = torch.tensor(preprocess["std"], device=device).view(1, 3, 1, 1)
    losses = pretrain_steps(
        model,
        lambda pixels: (pixels - mean) / std,
        open_clip.SimpleTokenizer(context_length=params.context_length),
        np.asarray(images.pixels),
        images.labels,
        class_captions(images, params),
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        weight_decay=params.weight_decay,
        warmup_steps=params.warmup_steps,
        seed=params.seed,
        device=device,
    )
    log = []
    for step, loss in enumerate(track(losses, "pretrain", total=params.steps, unit="step")):
        if not math.isfinite(loss):
            raise UserError(
                f"pretrain.{name}: the loss is {loss} at step {step}; "
                "lower its learning_rate in params.yaml"
            )
        log.append((step, loss))
    return Pretrained(model.cpu(), {"model_cfg": config, "preprocess_cfg": preprocess}, log)


def origin(params: PretrainParams) -> str:
    """Size and training of the small model, for model cards."""
    return (
        f"a small CLIP trained from scratch on image set `{params.dataset}` "
        f"({params.steps} steps of {params.batch_size} image-text pairs)"
    )


def model_config(params: PretrainParams, image_size: int) -> dict[str, Any]:
    """open_clip's model_cfg of a small ViT CLIP."""
    return {
        "embed_dim": params.embed_dim,
        "vision_cfg": {
            "image_size": image_size,
            "patch_size": params.patch_size,
            "width": params.width,
            "layers": params.layers,
            "head_width": 32,
        },
        "text_cfg": {
            "context_length": params.context_length,
            "vocab_size": VOCABULARY,
            "width": params.text_width,
            "heads": params.text_width // 32,
            "layers": params.text_layers,
        },
    }


def class_captions(images: ImageSet, params: PretrainParams) -> list[Sequence[str]]:
    """For each class, every sentence its images may be paired with."""
    pools = fill_templates(params.templates, images.classes)
    for label, caption in zip(images.labels, images.captions, strict=True):
        if caption:
            pools[label].append(caption)
    path = Path(params.captions)
    sentences_of_classes = captions_by_class(images.classes, read_sentences(path), path)
    for pool, sentences in zip(pools, sentences_of_classes, strict=True):
        pool += sentences
    return list(pools)

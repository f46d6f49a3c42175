"""What both variants of the benchmark start from: the same model, images, labels and texts.

Everything is drawn from `Setting.seed` on the CPU, so that two processes that build the same
setting hold the same bytes.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from torch import Tensor, nn

from pipeline.clip.model import Clip, preprocess_config
from pipeline.common.errors import UserError
from pipeline.methods import saft
from pipeline.model_sources import pretrained
from pipeline.training.recipe import Recipe

SHIFT = 0.01  # relative; how far the tuned weights are from the base weights


@dataclass(frozen=True)
class Setting:
    """One benchmark: `model` is an open_clip name; `model_config` a JSON file that defines it;
    `pretrained` an open_clip tag, None for random weights; `device` as torch names it."""

    model: str
    model_config: str | None
    pretrained: str | None
    classes: int
    captions: int
    batch_size: int
    attack_steps: int
    epsilon_255: int
    step_255: float
    seed: int
    device: str

    def recipe(self) -> Recipe:
        """SAFT as published, with the attack, batch and seed of this setting."""
        published = saft.PUBLISHED
        assert published.attack is not None
        attack = replace(
            published.attack,
            epsilon_255=self.epsilon_255,
            step_255=self.step_255,
            steps=self.attack_steps,
        )
        return Recipe(
            dataset="benchmark",
            method="saft",
            options={},
            optimiser=published.optimiser,
            learning_rate=published.learning_rate,
            momentum=published.momentum,
            weight_decay=published.weight_decay,
            attack=attack,
            epochs=1,
            batch_size=self.batch_size,
            warmup_steps=0,
            mix_alpha=1.0,
            augmentation="none",
            blocks=None,
            lora=None,
            gradient_clip=None,
            averaging=None,
            precision="float32",
            compile=False,
            seed=self.seed,
        )


class Scene(NamedTuple):
    """base: the model before fine-tuning, float32, on the CPU, in eval mode; prompts: K texts
    for each of C classes; pixels: uint8 (B, 3, S, S), one batch; labels: (B,) int64."""

    base: Clip
    prompts: list[list[str]]
    pixels: np.ndarray
    labels: np.ndarray


def make_scene(setting: Setting) -> Scene:
    """Build the scene of a setting.

    Raises:
        UserError: the model, its config file or its weights are not to be had.
    """
    base = _load(setting)
    size = base.model.visual.image_size[0]
    rng = np.random.default_rng(setting.seed)
    shape = (setting.batch_size, 3, size, size)
    prompts = [
        [f"a photo of class {label}, description {k}" for k in range(setting.captions)]
        for label in range(setting.classes)
    ]
    pixels = rng.integers(0, 256, size=shape, dtype=np.uint8)
    return Scene(base, prompts, pixels, rng.integers(0, setting.classes, setting.batch_size))


@torch.no_grad()
def shift_weights(visual: nn.Module, seed: int) -> None:
    """Move every weight by SHIFT of itself, as after some training: at the base weights the
    constraint term is the norm of rounding noise, and so is its gradient."""
    generator = torch.Generator().manual_seed(seed)
    for weight in visual.parameters():
        noise: Tensor = torch.randn(weight.shape, generator=generator)
        weight.mul_(1 + SHIFT * noise.to(weight.device))


def _load(setting: Setting) -> Clip:
    name = setting.model
    if setting.model_config:
        name = _register(Path(setting.model_config))
    config = open_clip.get_model_config(name)
    if config is None:
        raise UserError(f"open_clip has no model '{name}'; see open_clip.list_models()")
    torch.manual_seed(setting.seed)
    logging.disable(logging.WARNING)  # open_clip warns about the random weights
    model: Any
    if setting.pretrained:
        chosen = pretrained.Params(model=name, tag=setting.pretrained, cache_dir=None)
        built = pretrained.build(chosen, "", setting.seed, torch.device("cpu"))
        model, published = built.model, built.config
    else:
        model = open_clip.create_model(name)
        published = {"model_cfg": config, "preprocess_cfg": preprocess_config()}
    logging.disable(logging.NOTSET)
    return Clip(model.eval(), published, open_clip.get_tokenizer(name))


def _register(file: Path) -> str:
    """Make an open_clip model config known to open_clip; its name there."""
    if not file.is_file():
        raise UserError(f"--model-config {file}: not found")
    open_clip.add_model_config(file)
    if open_clip.get_model_config(file.stem) is None:
        raise UserError(f"--model-config {file}: needs embed_dim, vision_cfg and text_cfg")
    return file.stem

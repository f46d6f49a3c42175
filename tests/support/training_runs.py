"""Tiny trainings: ten random images, three classes, the tiny CLIP of conftest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.common import registry
from pipeline.distributed.ranks import SINGLE, Ranks
from pipeline.training import checkpoint
from pipeline.training.loop import Resume, finetune
from pipeline.training.objective import MethodInputs
from pipeline.training.published import TrainingAttack
from pipeline.training.recipe import Recipe
from pipeline.training.session import method_inputs
from pipeline.training.text_attack import attacked_on
from pipeline.training.validation import ValidationImages, Validator
from pipeline.training.validation_params import Validation

CPU = torch.device("cpu")
N, C, K, WIDTH, SIZE = 10, 3, 2, 16, 16
SCALE = 20.0
HELD_OUT = 11
MAPS = {"attention_refinement": 0.08, "attention_constraint": 0.05, "attention_norm": "token"}
OPTIONS: dict[str, dict[str, Any]] = {
    "saft": MAPS,
    "tga_zsr": MAPS,
    "comp_tga": MAPS
    | {"attention_refinement": 0.1, "attention_constraint": 0.07, "negative": "negated"},
    "pmg_aft": {"variant": "paper", "general": 1.0, "clean": 1.0},
    "ucat": {"calibration": 300.0, "temperature": 0.5, "clean_model": "base"},
    "fare": {"distance": "l2"},
    "lore": {
        "rho": 0.1,
        "steps_per_multiplier_step": 2,
        "multiplier_learning_rate": 1e-2,
    },
    "qt_aft": {"caption": 10.0, "temperature": 0.07},
    "agft": {"scale_ratio": 1.8, "target_temperature": 0.4},
}
ATTACK = TrainingAttack("linf", epsilon_255=4, step_255=2, steps=2, momentum=0, random_start=True)
RECIPE = Recipe(
    dataset="x",
    method="saft",
    options={},
    optimiser="sgd",
    learning_rate=0.05,
    momentum=0.9,
    weight_decay=0.0,
    attack=ATTACK,
    epochs=3,
    batch_size=4,
    warmup_steps=2,
    mix_alpha=1.0,
    augmentation="none",
    blocks=None,
    lora=None,
    gradient_clip=None,
    averaging=None,
    precision="float32",
    compile=False,
    seed=0,
)


def recipe(**changes: Any) -> Recipe:
    """RECIPE with changes."""
    return replace(RECIPE, **changes)


def inputs_of(
    encoder: clip.ImageEncoder, images: int = N, seed: int = 0, device: torch.device = CPU
) -> MethodInputs:
    """Random images and texts for the encoder; texts and encoder on `device`."""
    rng = np.random.default_rng(seed)

    def unit(*shape: int) -> torch.Tensor:
        return F.normalize(torch.from_numpy(rng.normal(size=shape)).float(), dim=-1)

    pixels = rng.integers(0, 256, size=(images, 3, SIZE, SIZE), dtype=np.uint8)
    texts, template = unit(C, K, WIDTH).to(device), unit(C, WIDTH).to(device)
    others = {"negated": unit(C, 1, WIDTH).to(device)}
    labels, captions = np.arange(images) % C, unit(images, WIDTH).to(device)
    return MethodInputs(
        encoder.to(device), texts, template, SCALE, pixels, labels, 4,
        others=others, captions=captions,
    )  # fmt: skip


def validation_images() -> ValidationImages:
    """Random images of another seed, of which all but the first are measured on."""
    rng = np.random.default_rng(9)
    pixels = rng.integers(0, 256, size=(HELD_OUT, 3, SIZE, SIZE), dtype=np.uint8)
    return ValidationImages(pixels, rng.integers(0, C, size=HELD_OUT), np.arange(1, HELD_OUT))


def validation(**changes: Any) -> Validation:
    """Every two steps, two ascents as the training attack's, nothing else; with changes."""
    return replace(Validation("held", None, 2, 2, None, False, "linf", 4, 2), **changes)


def objective_of(method: str, inputs: MethodInputs, **changes: Any) -> Any:
    """The method's objective with its options of OPTIONS."""
    module = registry.load("pipeline.methods", method, "test")
    values = {"learning_rate": None} | OPTIONS.get(method, {}) | changes
    return module.build(module.Params.model_validate(values), inputs)


class Run:
    """One run on a fresh copy of the tiny model."""

    def __init__(
        self,
        folder: Path,
        chosen: Recipe = RECIPE,
        ranks: Ranks = SINGLE,
        device: torch.device = CPU,
    ) -> None:
        self.device, self.model = device, clip.load(folder)
        random = inputs_of(clip.image_encoder(self.model))
        texts, per_image = (random.texts, random.template), (random.others, random.captions)
        self.inputs = method_inputs(self.model, *texts, random, chosen, device, ranks, *per_image)
        self.inputs = self.inputs._replace(scale=SCALE)
        self.encoder, self.recipe = self.inputs.encoder, chosen
        objective = objective_of(chosen.method, self.inputs, **chosen.options)
        self.objective = attacked_on(objective, self.inputs, chosen)
        self.validator: Validator | None = None
        if chosen.validation is not None:
            self.validator = Validator(self.inputs, validation_images(), chosen)

    def go(
        self, state: Any = None, save: Any = lambda state: None, every: int = 2
    ) -> list[dict[str, float]]:
        parts = finetune(
            self.encoder, self.objective, self.inputs.pixels, self.inputs.labels,
            self.recipe, self.device, Resume(state, save, lambda step: step % every == 0),
            self.inputs.ranks, self.validator,
        )  # fmt: skip
        return [row for part in parts for row in part]

    def weights(self) -> dict[str, torch.Tensor]:
        return {k: v.clone() for k, v in self.model.model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Names of the weights that are not the same bits."""
    return {name for name, value in after.items() if not value.equal(before[name])}


class Killed(Exception):
    """A run was stopped on purpose."""


def kill(train: Callable[[Callable[[Any], None]], Any], folder: Path, step: int) -> None:
    """Train with resume states in `folder`, stopped after the one of `step`."""

    def save_then_die(state: Any) -> None:
        checkpoint.save_state(folder, state)
        if state["step"] == step:
            raise Killed

    try:
        train(save_then_die)
    except Killed:
        return
    raise RuntimeError(f"no resume state was written at step {step}")

"""A training from its inputs to its log; shared by the stage, the benchmarks and the tests."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import model as clip
from pipeline.clip.folders import BASE_MODEL
from pipeline.clip.model import Clip
from pipeline.clip.precision import set_precision
from pipeline.common.progress import counter
from pipeline.cost.meter import Meter, Spent
from pipeline.distributed.ranks import SINGLE, Ranks
from pipeline.images.streaming import Pixels
from pipeline.training.batches import total_steps
from pipeline.training.blocks import train_blocks
from pipeline.training.checkpoint import StateWriter
from pipeline.training.last_epoch import last_epoch
from pipeline.training.loggers import Loggers, requested
from pipeline.training.loop import Resume, State, finetune
from pipeline.training.lora import add_lora
from pipeline.training.objective import MethodInputs, MethodParams, Objective
from pipeline.training.recipe import Recipe
from pipeline.training.shared_state import load_state
from pipeline.training.text_attack import attacked_on
from pipeline.training.validation import ValidationImages, Validator
from pipeline.training.validation_outcome import summary

Rows = list[dict[str, float]]


class LabelledImages(Protocol):
    """pixels: uint8 (N, 3, S, S), an array or a streamed set; labels: int64 (N,)."""

    @property
    def pixels(self) -> Pixels: ...
    @property
    def labels(self) -> np.ndarray: ...


def method_inputs(
    base: Clip,
    texts: Tensor,
    template: Tensor,
    images: LabelledImages,
    recipe: Recipe,
    device: torch.device,
    ranks: Ranks = SINGLE,
    others: Mapping[str, Tensor] = MappingProxyType({}),
    captions: Tensor | None = None,
) -> MethodInputs:
    """The image encoder of `base` on `device`, with gradients for what the recipe trains, and all
    else that a method is built from.

    Args:
        texts: float32 (C, K, D), template: (C, D), others: (C, K, D) by name, captions: (N, D),
            all of unit norm.

    Raises:
        UserError: images or texts do not fit the model.
    """
    encoder = clip.image_encoder(base).to(device)
    set_precision(encoder.visual, recipe.precision)
    clip.check_fit(encoder, images.pixels.shape[-1], texts.shape[-1], str(BASE_MODEL))
    clip.train_only_image_encoder(base, encoder)
    train_blocks(encoder, recipe.blocks)
    if recipe.lora is not None:
        add_lora(encoder, recipe.lora, recipe.blocks, recipe.seed)
    return MethodInputs(
        encoder=encoder,
        texts=texts.to(device),
        template=template.to(device),
        scale=clip.logit_scale(base),
        pixels=images.pixels,
        labels=images.labels,
        batch_size=recipe.batch_size,
        ranks=ranks,
        seed=recipe.seed,
        others={name: features.to(device) for name, features in others.items()},
        augmentation=recipe.augmentation,
        captions=None if captions is None else captions.to(device),
    )


def train(
    inputs: MethodInputs,
    objective: Objective,
    recipe: Recipe,
    device: torch.device,
    state: State | None = None,
    save: Callable[[State], None] = lambda state: None,
    due: Callable[[int], bool] = lambda step: False,
    report: Callable[[Rows], None] = lambda rows: None,
    validator: Validator | None = None,
) -> Rows:
    """Run the loop, from `state` on if there is one; the rows of the log from the first step on.

    Args:
        save, due: as of `Resume`; a state holds the rows so far.
        report: gets the rows as they are made.
        validator: of the encoder; None: no validation.
    """
    rows: Rows = state["rows"] if state else []
    total, first = total_steps(len(inputs.pixels), recipe), state["step"] if state else 0
    if first and inputs.ranks.first:
        print(f"resuming at step {first} of {total}", flush=True)
    resume = Resume(state, lambda new: save(new | {"rows": rows}), due)
    with counter("finetune", total, "step") as bar:
        bar.update(first)
        for part in finetune(
            inputs.encoder, objective, inputs.pixels, inputs.labels,
            recipe, device, resume, inputs.ranks, validator,
        ):  # fmt: skip
            rows += part
            report(part)
            bar.set_postfix(loss=f"{part[-1]['loss']:.3f}", refresh=False)
            bar.update(len(part))
    return rows


class Finished(NamedTuple):
    """Results of a training besides the weights. rows: of the log, from the first step on; steps:
    those that this process took, which `spent` measures without validations; images: in the
    set."""

    rows: Rows
    images: int
    steps: int
    spent: Spent


def train_by_method(
    method: Any,
    options: MethodParams,
    inputs: MethodInputs,
    recipe: Recipe,
    folder: Path,
    state_seconds: float,
    validated: ValidationImages | None = None,
) -> Finished:
    """Build the method's objective and train it, from the resume state in `folder` on if there is
    one; print what the last epoch measured.

    Args:
        method, options: a module of `pipeline.methods` and its checked Params.
        state_seconds: between resume states; only rank 0 writes any.
        validated: what the recipe's validation is on; None where it has none.
    """
    device = inputs.texts.device
    meter = Meter(device)
    meter.watch(inputs.encoder, recipe.precision)  # before the method copies it
    objective = attacked_on(method.build(options, inputs), inputs, recipe)
    state = load_state(folder, inputs.ranks)
    first, validator = state["step"] if state else 0, None
    if validated is not None:
        validator = Validator(inputs, validated, recipe, meter.paused)
    seconds = state_seconds if inputs.ranks.first else math.inf
    meter.start()
    names = requested() if inputs.ranks.first else []
    with (
        StateWriter(folder, seconds) as writer,
        Loggers(names, recipe.as_dict(), recipe.batch_size) as live,
    ):
        live.start(state["rows"] if state else [])
        saving = writer.save, writer.due
        rows = train(inputs, objective, recipe, device, state, *saving, live.log, validator)
    if inputs.ranks.first:
        for words in (last_epoch, summary):
            if line := words(rows, len(inputs.pixels), recipe):
                print(line, flush=True)
    return Finished(rows, len(inputs.pixels), len(rows) - first, meter.stop())

"""Adversarial fine-tuning of the image encoder: the loop that every method shares.

Every random draw follows from (seed, epoch) or (seed, step), so a run that is killed and resumed
ends with the same bytes as one that was not.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import model as clip
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import compile_blocks
from pipeline.clip.schedule import warmup_cosine
from pipeline.clip.upload import Sent, Uploader
from pipeline.distributed.ranks import SINGLE, Ranks, rows_to_compute
from pipeline.images.streaming import Pixels, depth, prefetch
from pipeline.training import weights
from pipeline.training.objective import Batch, Objective
from pipeline.training.recipe import Recipe
from pipeline.training.step import (
    StepLog,
    advice,
    check_finite_step,
    make_ascents,
    make_optimiser,
    train_step,
)

LOG_EVERY = 10  # steps between transfers of the log to the CPU
State = dict[str, Any]


class Resume(NamedTuple):
    """state: what `save` was given in an earlier, interrupted run, or None; save: stores {step,
    encoder, optimiser, average}, which go on changing after it returns; due: whether to call it
    after so many steps."""

    state: State | None
    save: Callable[[State], None]
    due: Callable[[int], bool]


def steps_per_epoch(images: int, recipe: Recipe) -> int:
    """The last batch of an epoch may be smaller."""
    return math.ceil(images / recipe.batch_size)


def total_steps(images: int, recipe: Recipe) -> int:
    """Optimiser steps of the whole run."""
    return recipe.epochs * steps_per_epoch(images, recipe)


def batch_indices(step: int, images: int, batch_size: int, seed: int) -> np.ndarray:
    """Image numbers of a step, sorted: each epoch visits every image once.

    Example: 10 images in batches of 4 are batches of 4, 4 and 2; step 4 is the second of epoch 1.
    """
    per_epoch = math.ceil(images / batch_size)
    epoch, position = divmod(step, per_epoch)
    order = _epoch_order(epoch, images, seed)
    return np.sort(order[position * batch_size : (position + 1) * batch_size])


@lru_cache(maxsize=2)  # batches that are read ahead may belong to the next epoch already
def _epoch_order(epoch: int, images: int, seed: int) -> np.ndarray:
    """All image numbers, int64 (images,), in the order of an epoch; read-only."""
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(images)
    order.flags.writeable = False
    return order


def finetune(
    encoder: ImageEncoder,
    objective: Objective,
    pixels: Pixels,
    labels: np.ndarray,
    recipe: Recipe,
    device: torch.device,
    resume: Resume,
    ranks: Ranks = SINGLE,
) -> Iterator[list[dict[str, float]]]:
    """Train the weights of `encoder` that require gradients, in place; yield the log rows of
    every LOG_EVERY of its own steps. Exhaust the iterator: averaging and mixing come last.

    Args:
        encoder: at its base weights; it stays in eval mode, so that attacks see the network
            that is shipped.
        pixels: uint8 (N, 3, S, S), an array or a streamed set; labels: int64 (N,).
        ranks: the processes that train together, all with the same arguments; weights and rows
            are the same bits on each, and those of one process but for rounding.

    Raises:
        UserError: loss or gradient is not finite; that step is not taken and nothing saved.
    """
    trained = weights.trained(encoder)
    base = weights.copies(trained) if recipe.mix_alpha < 1 else []
    average = weights.copies(trained) if recipe.averaging else []
    optimiser = make_optimiser(trained, recipe)
    encoder.eval()
    first = _restore(resume.state, encoder, optimiser, average)
    ascents = make_ascents(encoder, recipe)
    if recipe.compile:
        compile_blocks(encoder.visual)
    total, rows = total_steps(len(pixels), recipe), []
    batches = _batches(pixels, labels, recipe, device, range(first, total), ranks)
    for step, batch in enumerate(batches, first):
        rate = _set_rate(optimiser, recipe, step, total)
        log = train_step(encoder, objective, optimiser, batch, step, recipe, ascents, ranks)
        rows.append((step, rate, log))
        if recipe.averaging:
            weights.average_(average, trained, recipe.averaging)
        save = step + 1 < total and resume.due(step + 1)
        if len(rows) == LOG_EVERY or save or step + 1 == total:
            yield _fetched(rows, recipe)
            rows = []
        if save:
            clip.check_finite(encoder, advice(recipe))
            resume.save(_state(step + 1, encoder, optimiser, average))
    if recipe.averaging:
        weights.assign_(trained, average)
    weights.mix_(trained, base, recipe.mix_alpha)


def _set_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, total: int) -> float:
    """Give the optimiser the learning rate of a step; that rate."""
    rate = recipe.learning_rate * warmup_cosine(step, recipe.warmup_steps, total)
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


def _batches(
    pixels: Pixels,
    labels: np.ndarray,
    recipe: Recipe,
    device: torch.device,
    steps: range,
    ranks: Ranks,
) -> Iterator[Batch]:
    """The batches of the steps, each on its way to the device while the one before it is used."""
    uploader = Uploader(device)

    def read(step: int) -> Sent:
        index, part = read_pixels(pixels, step, recipe, ranks)
        return uploader.send(part, labels[index], index)

    for sent in prefetch(read, steps, depth(pixels)):
        yield _received(uploader, sent)


def read_pixels(
    pixels: Pixels, step: int, recipe: Recipe, ranks: Ranks = SINGLE
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, int64 (B,), of the batch of a step, and pixels, uint8 (b, 3, S, S), of this
    rank's rows of it: of all without others."""
    index = batch_indices(step, len(pixels), recipe.batch_size, recipe.seed)
    return index, pixels[index[rows_to_compute(len(index), ranks)]]


def make_batch(
    index: np.ndarray, pixels: np.ndarray, labels: np.ndarray, device: torch.device
) -> Batch:
    """The batch of image numbers `index`, as float32 pixels in [0, 1] on `device`."""
    uploader = Uploader(device)
    return _received(uploader, uploader.send(pixels, labels[index], index))


def _received(uploader: Uploader, sent: Sent) -> Batch:
    images, batch_labels, numbers = uploader.receive(sent)
    return Batch(clip.scaled(images), batch_labels, numbers)


def _fetched(rows: list[tuple[int, float, StepLog]], recipe: Recipe) -> list[dict[str, float]]:
    """The log rows of some steps, all scalars in one transfer.

    Raises:
        UserError: loss or gradient of one of them is not finite.
    """
    stacked = [torch.stack([*log.scalars.values(), log.gradient_norm]) for _, _, log in rows]
    fetched = []
    for (step, rate, log), values in zip(rows, torch.stack(stacked).tolist(), strict=True):
        scalars = dict(zip(log.scalars, values, strict=False))
        check_finite_step(log, scalars["loss"], values[-1], step, recipe)
        fetched.append({"step": step, "learning_rate": rate} | scalars)
    return fetched


def _restore(
    state: State | None,
    encoder: ImageEncoder,
    optimiser: torch.optim.Optimizer,
    average: list[Tensor],
) -> int:
    """Load a state into all three; the step to go on with."""
    if state is None:
        return 0
    encoder.load_state_dict(state["encoder"])
    optimiser.load_state_dict(state["optimiser"])
    weights.assign_(average, state["average"])
    return state["step"]


def _state(
    step: int, encoder: ImageEncoder, optimiser: torch.optim.Optimizer, average: list[Tensor]
) -> State:
    return {
        "step": step,
        "encoder": encoder.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average,
    }

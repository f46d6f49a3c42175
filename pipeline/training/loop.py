"""Adversarial fine-tuning of the image encoder: the loop that every method shares.

Every random draw follows from (seed, epoch) or (seed, step), so a run that is killed and resumed
ends with the same bytes as one that was not.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.clip import model as clip
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import compile_blocks
from pipeline.clip.schedule import warmup_cosine
from pipeline.distributed.ranks import SINGLE, Ranks
from pipeline.images.streaming import Pixels
from pipeline.training import weights
from pipeline.training.batches import read_batches, total_steps
from pipeline.training.lora import merge_lora
from pipeline.training.objective import Objective
from pipeline.training.recipe import Recipe
from pipeline.training.step import StepLog, advice, check_finite_step, make_optimiser, train_step
from pipeline.training.training_attack import make_ascents

LOG_EVERY = 10  # steps between transfers of the log to the CPU
State = dict[str, Any]


class Resume(NamedTuple):
    """state: what `save` was given in an earlier, interrupted run, or None; save: stores {step,
    encoder, objective, optimiser, average}, which go on changing after it returns; due: whether to
    call it after so many steps."""

    state: State | None
    save: Callable[[State], None]
    due: Callable[[int], bool]


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
    mixed = recipe.mix_alpha < 1 and recipe.lora is None
    base = weights.copies(trained) if mixed else []
    average = weights.copies(trained) if recipe.averaging else []
    optimiser = make_optimiser(trained, recipe)
    encoder.eval()
    first = _restore(resume.state, encoder, objective, optimiser, average)
    ascents = make_ascents(encoder, recipe)
    if recipe.compile:
        compile_blocks(encoder.visual)
    total, rows = total_steps(len(pixels), recipe), []
    batches = read_batches(pixels, labels, recipe, device, range(first, total), ranks)
    for step, clean in enumerate(batches, first):
        batch = objective.base.fill(clean, ranks) if objective.base else clean
        rate = _set_rate(optimiser, recipe, step, total)
        log = train_step(encoder, objective, optimiser, batch, step, recipe, ascents, ranks)
        objective.after_step(batch, step)
        rows.append((step, rate, log))
        if recipe.averaging:
            weights.average_(average, trained, recipe.averaging)
        save = step + 1 < total and resume.due(step + 1)
        if len(rows) == LOG_EVERY or save or step + 1 == total:
            yield _fetched(rows, recipe)
            rows = []
        if save:
            clip.check_finite(encoder, advice(recipe))
            resume.save(_state(step + 1, encoder, objective, optimiser, average))
    if recipe.averaging:
        weights.assign_(trained, average)
    if recipe.lora is None:
        weights.mix_(trained, base, recipe.mix_alpha)
    else:
        merge_lora(encoder, recipe.mix_alpha)


def _set_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, total: int) -> float:
    """Give the optimiser the learning rate of a step; that rate."""
    rate = recipe.learning_rate * warmup_cosine(step, recipe.warmup_steps, total)
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


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
        row = {"step": step, "learning_rate": rate, **scalars, "gradient_norm": values[-1]}
        fetched.append(row)
    return fetched


def _restore(
    state: State | None,
    encoder: ImageEncoder,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    average: list[Tensor],
) -> int:
    """Load a state into all four; the step to go on with."""
    if state is None:
        return 0
    encoder.load_state_dict(state["encoder"])
    objective.restore(state["objective"])
    optimiser.load_state_dict(state["optimiser"])
    weights.assign_(average, state["average"])
    return state["step"]


def _state(
    step: int,
    encoder: ImageEncoder,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    average: list[Tensor],
) -> State:
    return {
        "step": step,
        "encoder": encoder.state_dict(),
        "objective": objective.state(),
        "optimiser": optimiser.state_dict(),
        "average": average,
    }

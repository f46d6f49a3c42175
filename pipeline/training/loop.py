"""Adversarial fine-tuning of the image encoder: the loop that every method shares.

Every random draw follows from (seed, epoch) or (seed, step), in a validation from (seed, image
batch), so a run that is killed and resumed ends with the same bytes as one that was not.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline.clip import model as clip
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import compile_blocks
from pipeline.clip.schedule import warmup_cosine
from pipeline.distributed.ranks import SINGLE, Ranks
from pipeline.images.streaming import Pixels
from pipeline.training import weights
from pipeline.training.batches import read_batches, total_steps
from pipeline.training.early_stopping import Monitor
from pipeline.training.objective import Objective
from pipeline.training.recipe import Recipe
from pipeline.training.saved_weights import SavedWeights
from pipeline.training.step import StepLog, advice, check_finite_step, make_optimiser, train_step
from pipeline.training.training_attack import make_ascents
from pipeline.training.validation import Validator

LOG_EVERY = 10  # steps between transfers of the log to the CPU
State = dict[str, Any]


class Resume(NamedTuple):
    """state: what `save` was given in an earlier, interrupted run, or None; save: stores {step,
    encoder, objective, optimiser, average, validation}, which go on changing after it returns; due:
    whether to call it after so many steps."""

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
    validator: Validator | None = None,
) -> Iterator[list[dict[str, float]]]:
    """Train the weights of `encoder` that require gradients, in place; yield the log rows of
    every LOG_EVERY of its own steps. Exhaust the iterator: averaging and mixing come last.

    Args:
        encoder: at its base weights; it stays in eval mode, so that attacks see the network
            that is shipped.
        pixels: uint8 (N, 3, S, S), an array or a streamed set; labels: int64 (N,).
        ranks: the processes that train together, all with the same arguments; weights and rows
            are the same bits on each, and those of one process but for rounding.
        validator: of this encoder; None: no validation.

    Raises:
        UserError: loss or gradient is not finite; that step is not taken and nothing saved.
    """
    saved, total = SavedWeights(encoder, recipe), total_steps(len(pixels), recipe)
    monitor = Monitor(validator, saved, total)
    optimiser = make_optimiser(saved.trained, recipe)
    encoder.eval()
    first = _restore(resume.state, encoder, objective, optimiser, saved, monitor)
    ascents = make_ascents(encoder, recipe)
    if recipe.compile:
        compile_blocks(encoder.visual)
    rows: list[_Row] = []
    batches = read_batches(pixels, labels, recipe, device, range(first, total), ranks)
    for step, clean in enumerate(batches, first):
        batch = objective.base.fill(clean, ranks) if objective.base else clean
        rate = _set_rate(optimiser, recipe, step, total)
        log = train_step(encoder, objective, optimiser, batch, step, recipe, ascents, ranks)
        objective.after_step(batch, step)
        saved.after_step()
        rows.append(_Row(step, rate, log, monitor.after_step(step)))
        last = step + 1 == total or monitor.stops
        save = not last and resume.due(step + 1)
        if len(rows) == LOG_EVERY or save or last:
            yield _fetched(rows, recipe)
            rows = []
        if save:
            clip.check_finite(encoder, advice(recipe))
            resume.save(_state(step + 1, encoder, objective, optimiser, saved, monitor))
        if last:
            break
    saved.finish(monitor.kept)


class _Row(NamedTuple):
    """A row of the log to be; validation: its columns of that."""

    step: int
    rate: float
    log: StepLog
    validation: dict[str, float]


def _set_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, total: int) -> float:
    """Give the optimiser the learning rate of a step; that rate."""
    rate = recipe.learning_rate * warmup_cosine(step, recipe.warmup_steps, total)
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


def _fetched(rows: list[_Row], recipe: Recipe) -> list[dict[str, float]]:
    """The log rows of some steps, all scalars in one transfer.

    Raises:
        UserError: loss or gradient of one of them is not finite.
    """
    logs = [row.log for row in rows]
    stacked = [torch.stack([*log.scalars.values(), log.gradient_norm]) for log in logs]
    fetched = []
    for (step, rate, log, measured), values in zip(
        rows, torch.stack(stacked).tolist(), strict=True
    ):
        scalars = dict(zip(log.scalars, values, strict=False))
        check_finite_step(log, scalars["loss"], values[-1], step, recipe)
        row = {"step": step, "learning_rate": rate, **scalars, "gradient_norm": values[-1]}
        fetched.append(row | measured)
    return fetched


def _restore(
    state: State | None,
    encoder: ImageEncoder,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    saved: SavedWeights,
    monitor: Monitor,
) -> int:
    """Load a state into all of them; the step to go on with."""
    if state is None:
        return 0
    encoder.load_state_dict(state["encoder"])
    objective.restore(state["objective"])
    optimiser.load_state_dict(state["optimiser"])
    weights.assign_(saved.average, state["average"])
    monitor.restore(state["validation"])
    return state["step"]


def _state(
    step: int,
    encoder: ImageEncoder,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    saved: SavedWeights,
    monitor: Monitor,
) -> State:
    return {
        "step": step,
        "encoder": encoder.state_dict(),
        "objective": objective.state(),
        "optimiser": optimiser.state_dict(),
        "average": saved.average,
        "validation": monitor.state(),
    }

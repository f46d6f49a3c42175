"""The steps of Auto-PGD and the rule that halves their size, as in `apgd`, for images in slots that
may be at different iterations."""

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.evaluation.interface import Settings
from pipeline.evaluation.slots import Slots
from pipeline.zeroshot.pgd_step import EPS, l2_norms, steepest_direction

MOMENTUM = 0.75  # share of the new step; the rest repeats the last move
RHO = 0.75  # a window in which fewer steps raise the loss halves the step size


class Windows(NamedTuple):
    """Steps between two checkpoints: the first time, less by `shrink` each time, `least`."""

    first: int
    shrink: int
    least: int


def windows(steps: int) -> Windows:
    """The published shares of the budget, rounded down, but at least one step."""
    first, shrink, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    return Windows(first, shrink, least)


def update_state(slots: Slots, losses: Tensor, gradient: Tensor, steps: int) -> Tensor:
    """Update the state with loss and gradient at the current points; the gradient to step along.

    At its checkpoints an image halves its step size and goes back to its best point if at most
    RHO of the window's steps raised the loss, or if the best loss is what it was at the last
    checkpoint and the step size was not halved there. As in the released code, the first step's
    loss counts as raised if it is positive, whatever the start's was.
    """
    state, begun = slots.state, slots.state["taken"] > 0
    better = losses > state["best_loss"]
    before = state["last_loss"].where(state["taken"] > 1, 0.0)
    slots.state = state | {
        "best": _where(better, state["point"], state["best"]),
        "best_gradient": _where(better, gradient, state["best_gradient"]),
        "best_loss": losses.where(better, state["best_loss"]),
        "last_loss": losses,
        "checked_loss": state["checked_loss"].where(begun, losses),
        "since": state["since"] + begun,
        "rises": state["rises"] + (begun & (losses > before)),
    }
    halve = halve_step_sizes(slots, windows(steps))
    best = slots.state["best"]
    slots.state["point"] = _where(halve, best, slots.state["point"])
    return _where(halve, slots.state["best_gradient"], gradient)


def halve_step_sizes(slots: Slots, schedule: Windows) -> Tensor:
    """Halve the step sizes of images at a checkpoint where due; bool (B,): whose were halved.

    Example with 100 steps and epsilon 8/255: the step size begins at 16/255, and windows of 22, 19,
    16, 13, 10, 7, 6 and 6 steps put checkpoints after steps 22, 41, 57, 70, 80, 87, 93 and 99. At
    step 22 the size becomes 8/255 if at most 16 of the 22 steps raised the loss (RHO * 22 = 16.5).
    At step 41 it is halved (again) if at most 14 of 19 did, or if it was not halved at step 22 and
    the best loss has not risen since.
    """
    state = slots.state
    due = state["since"] == state["window"]
    no_better = ~state["reduced"] & (state["checked_loss"] >= state["best_loss"])
    halve = due & ((state["rises"] <= RHO * state["window"]) | no_better)
    shorter = (state["window"] - schedule.shrink).clamp_min(schedule.least)
    slots.state = state | {
        "size": state["size"].where(~halve, state["size"] / 2),
        "reduced": halve.where(due, state["reduced"]),
        "checked_loss": state["best_loss"].where(due, state["checked_loss"]),
        "window": shorter.where(due, state["window"]),
        "since": state["since"] * ~due,
        "rises": state["rises"] * ~due,
    }
    return halve


def step(slots: Slots, gradient: Tensor, settings: Settings) -> None:
    """Move every point along the gradient, with momentum from an image's second step on."""
    images, point = slots.images, slots.state["point"]
    size = slots.state["size"].view(-1, 1, 1, 1)
    moved = bounded(images, point + size * steepest_direction(gradient, settings.norm), settings)
    taken = slots.state["taken"]
    share = torch.where(taken > 0, MOMENTUM, 1.0).view(-1, 1, 1, 1)
    mixed = point + (moved - point) * share + (point - slots.state["previous"]) * (1 - share)
    slots.state |= {
        "point": bounded(images, mixed, settings),
        "previous": point,
        "taken": taken + 1,
    }


def bounded(images: Tensor, points: Tensor, settings: Settings) -> Tensor:
    """`pgd_step.project` for points instead of perturbations: taking the image off and
    adding it again would round away the agreement with the released code."""
    epsilon = settings.epsilon
    if settings.norm == "linf":
        return points.clamp(images - epsilon, images + epsilon).clamp(0, 1)
    offset = points - images
    return (images + offset * (epsilon / l2_norms(offset).clamp_min(EPS)).clamp_max(1)).clamp(0, 1)


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(mask.view(-1, 1, 1, 1), yes, no)

"""Adversarial fine-tuning of the image encoder: the loop that every method shares.

Per step: a random start, a few ascents of the method's attack loss, one descent of its
training loss. Every random draw follows from (seed, epoch) or (seed, step), so a run that
is killed and resumed ends with the same bytes as one that was not.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline import attack, clip, weights
from pipeline.clip import ImageEncoder
from pipeline.errors import UserError
from pipeline.methods import Batch, Objective
from pipeline.recipe import Recipe
from pipeline.schedule import warmup_cosine
from pipeline.streaming import Pixels, depth, read_ahead

LOG_EVERY = 10  # steps between transfers of the log to the CPU
SHOWN = 16  # most image numbers in a message
State = dict[str, Any]


class Resume(NamedTuple):
    """state: what `save` was given in an earlier, interrupted run, or None; save: stores {step,
    encoder, optimiser, average}; every: steps between two calls of it."""

    state: State | None
    save: Callable[[State], None]
    every: int


def steps_per_epoch(images: int, recipe: Recipe) -> int:
    """The last batch of an epoch may be smaller."""
    return math.ceil(images / recipe.batch_size)


def total_steps(images: int, recipe: Recipe) -> int:
    """Optimiser steps of the whole run."""
    return recipe.epochs * steps_per_epoch(images, recipe)


def batch_indices(step: int, images: int, batch_size: int, seed: int) -> np.ndarray:
    """Image numbers of a step, sorted: each epoch visits every image once."""
    per_epoch = math.ceil(images / batch_size)
    epoch, place = divmod(step, per_epoch)
    order = _epoch_order(epoch, images, seed)
    return np.sort(order[place * batch_size : (place + 1) * batch_size])


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
) -> Iterator[list[dict[str, float]]]:
    """Train the weights of `encoder` that require gradients, in place; yield the log rows of
    every LOG_EVERY steps. Exhaust the iterator: averaging and mixing come last.

    Args:
        encoder: at its base weights; it stays in eval mode, so that attacks see the network
            that is shipped.
        pixels: uint8 (N, 3, S, S), an array or a streamed set; labels: int64 (N,).

    A resumed run yields only the rows of its own steps.

    Raises:
        UserError: loss or gradient is not finite; that step is not taken and nothing saved.
    """
    trained = weights.trained(encoder)
    base = weights.copies(trained) if recipe.mix_alpha < 1 else []
    average = weights.copies(trained) if recipe.averaging else []
    optimiser = make_optimiser(trained, recipe)
    encoder.eval()
    first = _restore(resume.state, encoder, optimiser, average)
    total, rows = total_steps(len(pixels), recipe), []
    ahead = read_ahead(
        lambda step: read_pixels(pixels, step, recipe), range(first, total), depth(pixels)
    )
    for step, read in enumerate(ahead, first):
        rate = recipe.learning_rate * warmup_cosine(step, recipe.warmup_steps, total)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = make_batch(*read, labels, device)
        rows.append((step, rate, train_step(encoder, objective, optimiser, batch, step, recipe)))
        if recipe.averaging:
            weights.average_(average, trained, recipe.averaging)
        save = (step + 1) % resume.every == 0 and step + 1 < total
        if len(rows) == LOG_EVERY or save or step + 1 == total:
            yield [_row(*entry) for entry in rows]
            rows = []
        if save:
            clip.check_finite(encoder, advice(recipe))
            resume.save(_state(step + 1, encoder, optimiser, average))
    if recipe.averaging:
        weights.assign_(trained, average)
    weights.mix_(trained, base, recipe.mix_alpha)


def make_optimiser(trained: list[torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW with `momentum` as its first beta; the loop sets the rate."""
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(
            trained, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay
        )
    return torch.optim.SGD(
        trained,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )


def train_step(
    encoder: ImageEncoder,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    step: int,
    recipe: Recipe,
) -> dict[str, Tensor]:
    """Attack the batch, then descend once; the detached scalars of the log, on the device.

    Raises:
        UserError: loss or gradient is not finite; the weights are as before.
    """
    images = batch.images + perturb_batch(encoder, objective, batch, step, recipe)
    losses = objective.losses(encoder, images, batch)
    optimiser.zero_grad(set_to_none=True)
    losses["loss"].backward()
    trained = [weight for group in optimiser.param_groups for weight in group["params"]]
    norm = torch.nn.utils.get_total_norm([w.grad for w in trained if w.grad is not None])
    _check_step(losses["loss"], norm, batch, step, recipe)
    if recipe.gradient_clip is not None:
        torch.nn.utils.clip_grads_with_norm_(trained, recipe.gradient_clip, norm)
    optimiser.step()
    return {name: value.detach() for name, value in losses.items()}


def perturb_batch(
    encoder: ImageEncoder, objective: Objective, batch: Batch, step: int, recipe: Recipe
) -> Tensor:
    """(B, 3, S, S) perturbation of the training attack in a step; zeros without an attack."""
    chosen, ascended = recipe.attack, objective.attack_loss
    images = batch.images
    start = torch.zeros_like(images)
    if chosen is None or ascended is None:
        return start
    if chosen.random_start:
        generator = torch.Generator(images.device).manual_seed(start_seed(recipe.seed, step))
        start = attack.uniform_start(images, chosen.epsilon_255 / 255, generator, chosen.norm)
    return attack.perturb(
        lambda perturbed: ascended(encoder, perturbed, batch),
        images,
        start,
        epsilon=chosen.epsilon_255 / 255,
        step_size=chosen.step_255 / 255,
        steps=chosen.steps,
        norm=chosen.norm,
        momentum=chosen.momentum,
    )


def start_seed(seed: int, step: int) -> int:
    """32 bits mixed from both numbers: torch's CPU generator ignores all higher ones."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def read_pixels(pixels: Pixels, step: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, int64 (B,), and pixels, uint8 (B, 3, S, S), of the batch of a step."""
    index = batch_indices(step, len(pixels), recipe.batch_size, recipe.seed)
    return index, pixels[index]


def make_batch(
    index: np.ndarray, pixels: np.ndarray, labels: np.ndarray, device: torch.device
) -> Batch:
    """The batch of image numbers `index`, as float32 pixels in [0, 1] on `device`."""
    images = clip.unit_pixels(pixels, device)
    return Batch(
        images, torch.from_numpy(labels[index]).to(device), torch.from_numpy(index).to(device)
    )


def _check_step(loss: Tensor, norm: Tensor, batch: Batch, step: int, recipe: Recipe) -> None:
    # One number per step comes to the CPU, before the weights move. On a GPU the wait costs a
    # launch queue's length, against several passes through the encoder per step.
    if torch.isfinite(loss + norm):
        return
    name, value = ("gradient's norm", norm) if torch.isfinite(loss) else ("loss", loss)
    numbers = batch.numbers.tolist()
    shown = ", ".join(map(str, numbers[:SHOWN]))
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    raise UserError(
        f"finetune: the {name} is {value.item()} at step {step} "
        f"(images {shown}{more} of {recipe.dataset}); {advice(recipe)}"
    )


def advice(recipe: Recipe) -> str:
    """What helps against weights, losses or gradients that are not finite."""
    return (
        f"lower finetune.options.{recipe.method}.learning_rate or lengthen "
        "finetune.warmup_steps in params.yaml"
    )


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


def _row(step: int, rate: float, losses: dict[str, Tensor]) -> dict[str, float]:
    return {"step": step, "learning_rate": rate} | {k: v.item() for k, v in losses.items()}

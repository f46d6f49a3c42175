"""Adversarial fine-tuning of the image encoder: the loop that every method shares.

Per step: a random start, a few ascents of the method's attack loss, one descent of its
training loss. Every random draw follows from (seed, epoch) or (seed, step), so a run that
is killed and resumed ends with the same bytes as one that was not.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from pydantic import Field

from pipeline import attack
from pipeline.clip import ImageEncoder
from pipeline.errors import UserError
from pipeline.methods import Batch, Objective
from pipeline.params import Section
from pipeline.schedule import warmup_cosine

LOG_EVERY = 10  # steps between transfers of the log to the CPU: each one waits for the GPU
State = dict[str, Any]


class FinetuneParams(Section):
    """Section `finetune` of params.yaml, where every key is explained."""

    dataset: str
    method: str
    options: dict[str, dict[str, Any]]
    epsilon_255: int = Field(ge=0, le=255)
    step_255: float = Field(gt=0, le=255)
    attack_steps: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    checkpoint_every: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**31)


def total_steps(images: int, params: FinetuneParams) -> int:
    """Optimiser steps of the whole run; the last batch of an epoch may be smaller."""
    return params.epochs * math.ceil(images / params.batch_size)


def batch_indices(step: int, images: int, batch_size: int, seed: int) -> np.ndarray:
    """Image numbers of a step, sorted: each epoch visits every image once."""
    per_epoch = math.ceil(images / batch_size)
    epoch, place = divmod(step, per_epoch)
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(images)
    return np.sort(order[place * batch_size : (place + 1) * batch_size])


def finetune(
    encoder: ImageEncoder,
    objective: Objective,
    pixels: np.ndarray,
    labels: np.ndarray,
    params: FinetuneParams,
    device: torch.device,
    state: State | None,
    checkpoint: Callable[[State], None],
) -> Iterator[list[dict[str, float]]]:
    """Train `encoder` in place; yield the log rows of every LOG_EVERY steps.

    Args:
        pixels: uint8 (N, 3, S, S); labels: int64 (N,).
        state: what `checkpoint` was given in an earlier, interrupted run, or None.
        checkpoint: stores {step, encoder, optimiser}; called every `checkpoint_every` steps.

    The encoder stays in eval mode, so that attacks see the network that is shipped. A
    resumed run yields only the rows of its own steps.

    Raises:
        UserError: the loss is not finite.
    """
    weights = list(encoder.visual.parameters())
    optimiser = torch.optim.SGD(
        weights,
        lr=params.learning_rate,
        momentum=params.momentum,
        weight_decay=params.weight_decay,
    )
    encoder.eval()
    first = 0
    if state is not None:
        encoder.load_state_dict(state["encoder"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    total, rows = total_steps(len(pixels), params), []
    for step in range(first, total):
        rate = params.learning_rate * warmup_cosine(step, params.warmup_steps, total)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = read_batch(pixels, labels, step, params, device)
        rows.append((step, rate, train_step(encoder, objective, optimiser, batch, step, params)))
        save = (step + 1) % params.checkpoint_every == 0 and step + 1 < total
        if len(rows) == LOG_EVERY or save or step + 1 == total:
            yield [_row(*entry) for entry in rows]
            rows = []
        if save:
            checkpoint(
                {
                    "step": step + 1,
                    "encoder": encoder.state_dict(),
                    "optimiser": optimiser.state_dict(),
                }
            )


def train_step(
    encoder: ImageEncoder,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    step: int,
    params: FinetuneParams,
) -> dict[str, torch.Tensor]:
    """Attack the batch, then descend once; the detached scalars of the log, on the device."""
    images = batch.images
    epsilon = params.epsilon_255 / 255
    generator = torch.Generator(images.device).manual_seed(start_seed(params.seed, step))
    perturbation = attack.perturb(
        lambda perturbed: objective.attack_loss(encoder, perturbed, batch),
        images,
        attack.uniform_start(images, epsilon, generator),
        epsilon=epsilon,
        step_size=params.step_255 / 255,
        steps=params.attack_steps,
    )
    losses = objective.losses(encoder, images + perturbation, batch)
    optimiser.zero_grad(set_to_none=True)
    losses["loss"].backward()
    optimiser.step()
    return {name: value.detach() for name, value in losses.items()}


def start_seed(seed: int, step: int) -> int:
    """32 bits mixed from both numbers: torch's CPU generator ignores all higher ones."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def read_batch(
    pixels: np.ndarray, labels: np.ndarray, step: int, params: FinetuneParams, device: torch.device
) -> Batch:
    """The batch of a step, as float32 pixels in [0, 1] on `device`."""
    index = batch_indices(step, len(pixels), params.batch_size, params.seed)
    images = torch.from_numpy(pixels[index]).to(device).float().div_(255)
    return Batch(
        images, torch.from_numpy(labels[index]).to(device), torch.from_numpy(index).to(device)
    )


def _row(step: int, rate: float, losses: dict[str, torch.Tensor]) -> dict[str, float]:
    row = {"step": step, "learning_rate": rate} | {k: v.item() for k, v in losses.items()}
    if not math.isfinite(row["loss"]):
        raise UserError(
            f"finetune: the loss is {row['loss']} at step {step}; "
            "lower finetune.learning_rate or lengthen finetune.warmup_steps in params.yaml"
        )
    return row

"""The training attack: a random start and a few ascents of the method's attack loss."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.cuda_graph import Replay
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import frozen_copy, refresh
from pipeline.distributed.ranks import SINGLE, Ranks, rows_to_compute
from pipeline.training.objective import AttackLoss, Batch
from pipeline.training.published import TrainingAttack
from pipeline.training.recipe import Recipe
from pipeline.training.weights import without_gradients
from pipeline.zeroshot import pgd_step


class Attacked(Protocol):
    """What of an `Objective` the training attack asks for."""

    @property
    def attack_loss(self) -> AttackLoss | None: ...


class Ascents(NamedTuple):
    """How the training attack is computed, kept from step to step of one training.

    copy: `attacked_copy` of the encoder; replay: the ascents of a step as one CUDA graph; None:
    kernel by kernel.
    """

    copy: ImageEncoder | None = None
    replay: Replay | None = None


PLAIN = Ascents()


def attacked_copy(encoder: ImageEncoder, recipe: Recipe) -> ImageEncoder | None:
    """What the ascents go through instead of the encoder itself: a frozen copy where that is
    cheaper (bf16) or needed (compiled), refreshed before each attack; else None, as without an
    attack."""
    if recipe.attack is None or (recipe.precision != "bf16" and not recipe.compile):
        return None
    return frozen_copy(encoder, recipe.precision, recipe.compile)


def make_ascents(encoder: ImageEncoder, recipe: Recipe) -> Ascents:
    """What `train_step` is to be given in every step of a training."""
    return Ascents(attacked_copy(encoder, recipe), Replay(after=2))


def perturb_batch(
    encoder: ImageEncoder,
    objective: Attacked,
    batch: Batch,
    step: int,
    recipe: Recipe,
    ascents: Ascents = PLAIN,
    ranks: Ranks = SINGLE,
) -> Tensor:
    """Perturbation of the batch's images by the training attack of a step, shaped like them;
    zeros without an attack. The loss is a sum over images: no rank needs another one's, but their
    numbers."""
    chosen, ascended = recipe.attack, objective.attack_loss
    images = batch.images
    start = torch.zeros_like(images)
    if chosen is None or ascended is None:
        return start
    count, rows = len(batch.labels), rows_to_compute(len(batch.labels), ranks)
    labels, numbers = batch.labels[rows], batch.numbers[rows]
    base = [] if batch.base is None else [batch.base[rows]]
    if chosen.random_start:
        generator = torch.Generator(images.device).manual_seed(start_seed(recipe.seed, step))
        start = pgd_step.uniform_start(
            images, chosen.epsilon_255 / 255, generator, chosen.norm, (count, rows)
        )
    if ascents.copy is not None:
        refresh(ascents.copy, encoder)
    perturbed = _ascended(ascents.copy or encoder, ascended, chosen)
    inputs = (images, start, labels, numbers, batch.numbers, *base)
    with without_gradients(encoder):
        if ascents.replay is None:
            return perturbed(*inputs)[0]
        return ascents.replay(perturbed, *inputs, key=chosen)[0]


def _ascended(
    attacked: ImageEncoder, loss: AttackLoss, chosen: TrainingAttack
) -> Callable[..., tuple[Tensor]]:
    """(images, start, labels, numbers, whole, and base where the batch has it) -> the
    perturbation, by all ascents of a step."""

    def perturbed(images: Tensor, start: Tensor, *rest: Tensor) -> tuple[Tensor]:
        part = Batch(images, *rest)
        return (
            pgd_step.perturb(
                lambda moved: loss(attacked, moved, part),
                images,
                start,
                epsilon=chosen.epsilon_255 / 255,
                step_size=chosen.step_255 / 255,
                steps=chosen.steps,
                norm=chosen.norm,
                momentum=chosen.momentum,
            ),
        )

    return perturbed


def start_seed(seed: int, step: int) -> int:
    """32 bits mixed from both numbers: torch's CPU generator ignores all higher ones."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])

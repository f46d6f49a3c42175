"""One step of adversarial fine-tuning: a random start, a few ascents of the method's attack loss,
one descent of its training loss.

On CUDA nothing in a step makes the host wait: whether loss and gradient are finite is decided on
the device, where the optimiser skips a step that is not, and read with the log.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.cuda_graph import Replay
from pipeline.clip.device import allow_tf32
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import frozen_copy, refresh
from pipeline.common.errors import UserError, listed
from pipeline.distributed.collectives import sum_gradients
from pipeline.distributed.gathered import gathering_encoder
from pipeline.distributed.ranks import SINGLE, Ranks, rows_to_compute
from pipeline.training.objective import AttackLoss, Batch, Objective, TrainingAttack
from pipeline.training.recipe import Recipe
from pipeline.training.weights import without_gradients
from pipeline.zeroshot import pgd_step

SHOWN = 16  # most image numbers in a message


class StepLog(NamedTuple):
    """Results of a step, on the device: the scalars of the log, `loss` among them, and the norm
    of the gradient; and the image numbers of its batch."""

    scalars: dict[str, Tensor]
    gradient_norm: Tensor
    numbers: Tensor


class Ascents(NamedTuple):
    """How the training attack is computed, kept from step to step of one training.

    copy: `attacked_copy` of the encoder; replay: the ascents of a step as one CUDA graph; None:
    kernel by kernel.
    """

    copy: ImageEncoder | None = None
    replay: Replay | None = None


PLAIN = Ascents()


def make_optimiser(trained: list[torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW with `momentum` as its first beta; the loop sets the rate.
    On CUDA the fused kind, which can skip a step without the host."""
    fused = trained[0].is_cuda or None
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(
            trained,
            betas=(recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            fused=fused,
        )
    return torch.optim.SGD(
        trained,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=fused,
    )


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


def train_step(
    encoder: ImageEncoder,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    step: int,
    recipe: Recipe,
    ascents: Ascents = PLAIN,
    ranks: Ranks = SINGLE,
) -> StepLog:
    """Attack the batch, then descend once.

    Args:
        ascents: `make_ascents` of the encoder.
        ranks: the processes that take this step together, each on its rows of the batch.

    Raises:
        UserError: on a CPU, loss or gradient is not finite; the weights are as before. On CUDA
            they are as before too, and `check_finite_step` tells.
    """
    images = batch.images + perturb_batch(encoder, objective, batch, step, recipe, ascents, ranks)
    losses = objective.losses(gathering_encoder(encoder, len(batch.labels), ranks), images, batch)
    optimiser.zero_grad(set_to_none=True)
    losses["loss"].backward()
    if recipe.precision == "tf32":  # left on where the first blocks are not trained
        allow_tf32(False)
    trained = [weight for group in optimiser.param_groups for weight in group["params"]]
    sum_gradients(trained, ranks)
    norm = torch.nn.utils.get_total_norm([w.grad for w in trained if w.grad is not None])
    log = StepLog({name: value.detach() for name, value in losses.items()}, norm, batch.numbers)
    if norm.is_cuda:
        finite = torch.isfinite(log.scalars["loss"] + norm)
        optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
    else:
        check_finite_step(log, log.scalars["loss"].item(), norm.item(), step, recipe)
    if recipe.gradient_clip is not None:
        torch.nn.utils.clip_grads_with_norm_(trained, recipe.gradient_clip, norm)
    optimiser.step()
    return log


def perturb_batch(
    encoder: ImageEncoder,
    objective: Objective,
    batch: Batch,
    step: int,
    recipe: Recipe,
    ascents: Ascents = PLAIN,
    ranks: Ranks = SINGLE,
) -> Tensor:
    """Perturbation of the batch's images by the training attack of a step, shaped like them;
    zeros without an attack. The loss is a sum over images: no rank needs another one's."""
    chosen, ascended = recipe.attack, objective.attack_loss
    images = batch.images
    start = torch.zeros_like(images)
    if chosen is None or ascended is None:
        return start
    count, rows = len(batch.labels), rows_to_compute(len(batch.labels), ranks)
    part = Batch(images, batch.labels[rows], batch.numbers[rows])
    if chosen.random_start:
        generator = torch.Generator(images.device).manual_seed(start_seed(recipe.seed, step))
        start = pgd_step.uniform_start(
            images, chosen.epsilon_255 / 255, generator, chosen.norm, (count, rows)
        )
    if ascents.copy is not None:
        refresh(ascents.copy, encoder)
    perturbed = _ascended(ascents.copy or encoder, ascended, chosen)
    inputs = (images, start, part.labels, part.numbers)
    with without_gradients(encoder):
        if ascents.replay is None:
            return perturbed(*inputs)[0]
        return ascents.replay(perturbed, *inputs, key=chosen)[0]


def _ascended(
    attacked: ImageEncoder, loss: AttackLoss, chosen: TrainingAttack
) -> Callable[..., tuple[Tensor]]:
    """(images, start, labels, numbers) -> the perturbation, by all ascents of a step."""

    def perturbed(images: Tensor, start: Tensor, labels: Tensor, numbers: Tensor) -> tuple[Tensor]:
        part = Batch(images, labels, numbers)
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


def check_finite_step(log: StepLog, loss: float, norm: float, step: int, recipe: Recipe) -> None:
    """Raise UserError if loss or gradient norm of a step are not finite."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    name, value = ("gradient's norm", norm) if math.isfinite(loss) else ("loss", loss)
    numbers = listed([str(number) for number in log.numbers.tolist()], SHOWN)
    raise UserError(
        f"finetune: the {name} is {value} at step {step} "
        f"(images {numbers} of {recipe.dataset}); {advice(recipe)}"
    )


def advice(recipe: Recipe) -> str:
    """What helps against weights, losses or gradients that are not finite."""
    return (
        f"lower finetune.options.{recipe.method}.learning_rate or lengthen "
        "finetune.warmup_steps in params.yaml"
    )

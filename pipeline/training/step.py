"""One step of adversarial fine-tuning: a random start, a few ascents of the method's attack loss,
one descent of its training loss.

On CUDA nothing in a step makes the host wait: whether loss and gradient are finite is decided on
the device, where the optimiser skips a step that is not, and read with the log.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.clip.device import allow_tf32
from pipeline.clip.model import ImageEncoder
from pipeline.common.errors import UserError, listed
from pipeline.distributed.collectives import sum_gradients
from pipeline.distributed.gathered import gathering_encoder
from pipeline.distributed.ranks import SINGLE, Ranks
from pipeline.training.objective import Batch, Objective
from pipeline.training.recipe import Recipe
from pipeline.training.training_attack import PLAIN, Ascents, perturb_batch

SHOWN = 16  # most image numbers in a message


class StepLog(NamedTuple):
    """Results of a step, on the device: the scalars of the log, `loss` among them, and the norm
    of the gradient; and the image numbers of its batch."""

    scalars: dict[str, Tensor]
    gradient_norm: Tensor
    numbers: Tensor


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

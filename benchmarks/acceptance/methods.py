"""Every fine-tuning method: repeatable, resumable and, on a GPU, the loss of the CPU."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.acceptance.context import Context
from benchmarks.acceptance.models import tiny_folder
from benchmarks.acceptance.report import Result
from pipeline.common import registry
from pipeline.training import checkpoint
from tests.support.training_runs import ATTACK, Run, kill, recipe

CPU = torch.device("cpu")
KILLED_AT = 4  # steps of the nine
LOSS_TOLERANCE = 1e-3  # of the first loss, relative
CLEAN = "ft_clean"  # trains without an attack
EPSILON_255 = {"linf": 4, "l2": 64}
Rows = list[dict[str, float]]
Weights = dict[str, Tensor]


def methods(context: Context, result: Result) -> None:
    """Two runs with the same bits, a killed and resumed one too, for each method and norm of
    the run."""
    folder = tiny_folder(context.scratch)
    for method in registry.names("pipeline.methods"):
        for norm in context.norms[:1] if method == CLEAN else context.norms:
            try:
                result[f"{method} {norm}"] = _method(context, folder, method, norm)
            except Exception as error:  # the other methods go on
                reason = f"{type(error).__name__}: {str(error)[:160]}"
                context.report.require(False, f"{method} {norm}: {reason}")


def _method(context: Context, folder: Path, method: str, norm: Any) -> dict[str, float]:
    attack = replace(ATTACK, norm=norm, random_start=False, epsilon_255=EPSILON_255[norm])
    changes: dict[str, Any] = {"attack": None if method == CLEAN else attack, "averaging": 0.7}
    published = registry.load("pipeline.methods", method, "methods").PUBLISHED
    if published.optimiser == "adamw":
        changes |= {"optimiser": "adamw", "learning_rate": 1e-3}

    def train(device: torch.device, **resume: Any) -> tuple[Rows, Weights]:
        return _train(folder, method, device, changes, **resume)

    require = context.report.require
    rows, weights = train(context.device)
    again, other = train(context.device)
    require(rows == again and _equal(weights, other), f"{method} {norm}: two runs differ")
    scratch = Path(tempfile.mkdtemp(dir=context.scratch))
    kill(lambda save: train(context.device, save=save), scratch, KILLED_AT)
    resumed_rows, resumed_weights = train(context.device, state=checkpoint.load_state(scratch))
    require(resumed_rows == rows[KILLED_AT:], f"{method} {norm}: resumed rows differ")
    require(_equal(weights, resumed_weights), f"{method} {norm}: resumed weights differ")
    cpu_rows, cpu_weights = train(CPU) if context.cuda else (rows, weights)
    expected = cpu_rows[0]["loss"]
    first = abs(rows[0]["loss"] - expected) / (abs(expected) + 1e-6)
    require(first < LOSS_TOLERANCE, f"{method} {norm}: first loss {first:.1e} from the CPU's")
    apart = [(value - cpu_weights[key]).abs().max().item() for key, value in weights.items()]
    return {"first_loss_relative": first, "largest_weight_difference": max(apart)}


def _train(
    folder: Path,
    method: str,
    device: torch.device,
    changes: dict[str, Any],
    state: Any = None,
    save: Callable[[Any], None] = lambda state: None,
) -> tuple[Rows, Weights]:
    """Log rows and final weights, on the CPU, of a tiny training on `device`."""
    run = Run(folder, recipe(method=method, **changes), device=device)
    rows = run.go(state, save)
    return rows, {key: value.cpu() for key, value in run.weights().items()}


def _equal(first: Weights, second: Weights) -> bool:
    return all(value.equal(second[key]) for key, value in first.items())

"""One process per variant: what a step computes, how long it takes, how much memory it needs.

A process of its own keeps the peak memory of the variants apart, on the CPU too, and lets
each run under its own backend flags. One ends before the next begins: together they would not
fit a device.
"""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.flop import counter
from benchmarks.project import Project
from benchmarks.released import Released, ReleasedAmp
from benchmarks.setting import Scene, Setting, make_scene
from benchmarks.timing import peak, reset_peak, seconds_of
from pipeline.clip.device import enable_determinism, pick_device
from pipeline.common.errors import UserError
from pipeline.cost.matrix_speed import matrix_flop

VARIANTS: dict[str, Callable[[Scene, Setting], "Variant"]] = {
    "released": Released,
    "released_amp": ReleasedAmp,
    "pipeline": Project,
}
STEPS = ("training_step", "pgd_step")
OUT_OF_MEMORY = "out of memory; lower --classes or --batch-size"


class Variant(Protocol):
    """Both variants start from the same weights and the same random perturbation."""

    @property
    def visual(self) -> nn.Module: ...
    def perturb(self, steps: int) -> Tensor: ...
    def train_step(self) -> dict[str, Tensor]: ...


class Outcome(NamedTuple):
    """What the first step of a variant computed. losses: name -> value; gradients: name of
    a weight -> norm of its gradient; perturbation: (B, 3, S, S); flop: step -> FLOP."""

    losses: dict[str, float]
    gradients: dict[str, float]
    perturbation: np.ndarray
    flop: dict[str, int]


class Timing(NamedTuple):
    """seconds of one step; memory: its peak in bytes, None where it cannot be read."""

    seconds: float
    memory: int | None


def first_step(variant: Variant, attack_steps: int) -> Outcome:
    """Perturbation, then one training step, at the weights the variant starts with."""
    with counter() as attack:
        perturbation = variant.perturb(attack_steps).detach().cpu().numpy()
    with counter() as training:
        losses = {name: value.item() for name, value in variant.train_step().items()}
    gradients = {
        name: weight.grad.norm().item()
        for name, weight in variant.visual.named_parameters()
        if weight.grad is not None
    }
    flop = (training.get_total_flops(), attack.get_total_flops() // attack_steps)
    return Outcome(losses, gradients, perturbation, dict(zip(STEPS, flop, strict=True)))


class Worker:
    """A variant in a process of its own; `ask` runs one command there.

    Raises (also by `ask`):
        UserError: out of memory, or the setting cannot be built.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, name, setting), daemon=True)
        self.process.start()
        other.close()
        self._receive()

    def ask(self, command: str, *arguments: Any) -> Any:
        """The answer to first_step(), time_step(step) or matrix_flop(precision)."""
        self.pipe.send((command, arguments))
        return self._receive()

    def close(self) -> None:
        """End the process, gently if it is idle."""
        self.pipe.close()
        self.process.join(timeout=5)
        self.process.kill()
        self.process.join()

    def _receive(self) -> Any:
        try:
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            if self.process.exitcode == -9:  # by the kernel: the machine's memory is used up
                raise UserError(OUT_OF_MEMORY) from None
            raise RuntimeError(f"a variant ended with {self.process.exitcode}") from None
        if kind == "user error":
            raise UserError(value)
        if kind == "error":
            raise RuntimeError(value)
        return value


def _serve(pipe: Connection, name: str, setting: Setting) -> None:
    """Build a variant, then answer commands until the pipe closes; sends (kind, value) pairs."""
    try:
        _prefer_as_victim()
        device = pick_device()  # for what it sets in a process; it finds setting.device again
        enable_determinism()  # the released variants undo all of it but float32
        variant = VARIANTS[name](make_scene(setting), setting)
        commands: dict[str, Callable[..., Any]] = {
            "first_step": lambda: first_step(variant, setting.attack_steps),
            "time_step": lambda step: _time_step(variant, step, device),
            "matrix_flop": lambda precision: matrix_flop(device, precision),
        }
        pipe.send(("ready", None))
        while True:
            command, arguments = pipe.recv()
            pipe.send(("answer", commands[command](*arguments)))
    except (UserError, MemoryError, RuntimeError) as error:
        pipe.send(_told(error))
    except EOFError:
        return  # the parent has closed its end: the work is done


def _told(error: Exception) -> tuple[str, str]:
    """The error as the parent process should see it."""
    if isinstance(error, UserError):
        return "user error", str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error):
        return "user error", OUT_OF_MEMORY
    return "error", traceback.format_exc()


def _time_step(variant: Variant, step: str, device: torch.device) -> Timing:
    run = variant.train_step if step == "training_step" else lambda: variant.perturb(1)
    reset_peak(device)
    return Timing(seconds_of(run, device), peak(device))


def _prefer_as_victim() -> None:
    """Where memory runs out, Linux ends this process rather than another one."""
    file = Path("/proc/self/oom_score_adj")
    if file.exists():
        file.write_text("1000")

"""A training that can be watched: `SAFT_LOGGERS=dvclive,tensorboard,wandb,mlflow`.

Environment and not a parameter, for the same model comes out. Each logger gets every row of the
training log as it is made: loss and its parts, learning rate, norm of the gradient, and two numbers
of this machine, images per second and the GPU's peak memory in bytes. A resumed run hands them the
rows of the run that was interrupted first, so that no curve has a gap.

    dvclive      dvclive/plots/metrics/*.tsv, for `dvc plots show` and DVC's extension of VS Code
    tensorboard  runs/finetune/
    wandb        project saft; WANDB_API_KEY or `wandb login`, or WANDB_MODE=offline, in wandb/
    mlflow       experiment saft; MLFLOW_TRACKING_URI, else mlflow.db, for `mlflow ui`
What a logger lacks (its package, a key, a server) is one line, and the training goes on without it;
a training that fails is a failed run there.
"""

import importlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from pipeline.common.errors import UserError, one_line

VARIABLE = "SAFT_LOGGERS"
# mlflow's own would wait for a server that is gone for minutes, at every row
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
WITHOUT_KEY = ("offline", "dryrun", "disabled")  # modes of wandb
Row = Mapping[str, float]


class Logger(Protocol):
    """Where rows go. log: one row under its step; close: after the last, failed: of a training that
    did not end, or that the logger has not all of."""

    def log(self, step: int, row: Row) -> None: ...
    def close(self, failed: bool) -> None: ...


class DvcLive:
    """DVCLive's files, without its dvc.yaml: section plots of a project stays as it is."""

    def __init__(self, _: Mapping[str, Any]) -> None:
        live = importlib.import_module("dvclive").Live
        self.live = live("dvclive", dvcyaml=None, save_dvc_exp=False, report=None)

    def log(self, step: int, row: Row) -> None:
        self.live.step = step
        for name, value in row.items():
            self.live.log_metric(name, value)

    def close(self, failed: bool) -> None:
        self.live.end()


class TensorBoard:
    """An event file."""

    def __init__(self, _: Mapping[str, Any]) -> None:
        folder = Path("runs/finetune")
        shutil.rmtree(folder, ignore_errors=True)  # else a second run is drawn over the first
        self.writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder))

    def log(self, step: int, row: Row) -> None:
        for name, value in row.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self, failed: bool) -> None:
        self.writer.close()


class Wandb:
    """A run of Weights & Biases, with the recipe as its config."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        wandb = importlib.import_module("wandb")
        needs_key = wandb.setup().settings.mode not in WITHOUT_KEY
        if needs_key and not wandb.login(prompt=False, verify=False):
            raise UserError("no key; export WANDB_API_KEY or WANDB_MODE=offline")
        self.run = wandb.init(project="saft", config=dict(recipe))

    def log(self, step: int, row: Row) -> None:
        self.run.log(dict(row), step=step)

    def close(self, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


class MlFlow:
    """A run of MLflow, with the recipe as its parameters."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        self.mlflow = importlib.import_module("mlflow")
        self.mlflow.set_experiment("saft")
        self.mlflow.start_run()
        try:
            self.mlflow.log_params(dict(recipe))
        except Exception:
            self.close(failed=True)
            raise

    def log(self, step: int, row: Row) -> None:
        self.mlflow.log_metrics(dict(row), step=step)

    def close(self, failed: bool) -> None:
        self.mlflow.end_run("FAILED" if failed else "FINISHED")


KINDS: dict[str, Callable[[Mapping[str, Any]], Logger]] = {
    "dvclive": DvcLive,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": MlFlow,
}


class Loggers:
    """Those that are asked for; a context. One that fails is told of in a line and left out.

    Args:
        names: keys of KINDS.
        recipe: plain values, as of recipe.json.
        batch_size: images per step.
    """

    def __init__(self, names: Sequence[str], recipe: Mapping[str, Any], batch_size: int) -> None:
        self.names, self.recipe, self.batch_size = names, recipe, batch_size
        self.open: dict[str, Logger] = {}
        self._last = time.perf_counter()

    def __enter__(self) -> "Loggers":
        for name in self.names:
            self._try(name, partial(self._open, name))
        return self

    def __exit__(self, kind: object, *_: Any) -> None:
        for name in list(self.open):
            self._try(name, partial(self.open.pop(name).close, failed=kind is not None))

    def start(self, rows: Sequence[Row]) -> None:
        """The rows of an interrupted run that goes on; the clock begins."""
        for row in rows:
            self._log(row)
        self._last = time.perf_counter()

    def log(self, rows: Sequence[Row]) -> None:
        """Rows of the log as they are made."""
        if not self.open:
            return
        now = time.perf_counter()
        machine = {"images_per_second": len(rows) * self.batch_size / (now - self._last)}
        if torch.cuda.is_available():
            machine["gpu_peak_memory_bytes"] = torch.cuda.max_memory_allocated()
        self._last = now
        for row in rows:
            self._log({**row, **machine})

    def _open(self, name: str) -> None:
        self.open[name] = KINDS[name](self.recipe)

    def _log(self, row: Row) -> None:
        values = {name: value for name, value in row.items() if name != "step"}
        for name, logger in list(self.open.items()):
            self._try(name, partial(logger.log, int(row["step"]), values))

    def _try(self, name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # of any package: none of them may stop a training
            reason = one_line(error, 200)
            print(f"{VARIABLE}: {name} is left out: {reason}", file=sys.stderr, flush=True)
            if unfinished := self.open.pop(name, None):
                with suppress(Exception):  # of the same cause
                    unfinished.close(failed=True)


def requested() -> list[str]:
    """The loggers that SAFT_LOGGERS names, each once.

    Raises:
        UserError: one is not known.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    chosen = list(dict.fromkeys(filter(None, names)))
    unknown = [name for name in chosen if name not in KINDS]
    if unknown:
        raise UserError(f"{VARIABLE}: '{unknown[0]}' is not one of {', '.join(KINDS)}")
    return chosen

"""Stages in processes of their own that end in the middle of their work.

A process is forked from one that has imported what is large (torch, pyarrow), but nothing of this
project: a stage then takes tenths of a second, and imports the code of the folder it runs in.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tests.support.project import environment

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
IMPORTED = (
    "torch", "torch._dynamo", "torch.distributed", "torchvision", "pyarrow.parquet", "open_clip",
    "pandas", "safetensors.torch", "safetensors.numpy", "typer", "pydantic", "ruamel.yaml",
    "scipy.stats", "sklearn.datasets", "matplotlib.figure", "jinja2", "filelock", "tqdm",
    "PIL.Image", "inflect",
)  # fmt: skip
SECONDS = 120  # that a stage on tiny inputs surely does not take
Prepare = Callable[[], None]

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(list(IMPORTED))


def nothing() -> None:
    """Prepare nothing."""


class Ended(NamedTuple):
    """How a process ended. status: as subprocess has it, -9 for SIGKILL."""

    status: int
    output: str

    @property
    def message(self) -> str:
        """The one line of an error that a user can mend.

        Raises:
            AssertionError: there is another number of them, a traceback, or a defect.
        """
        lines = [line for line in self.output.splitlines() if "error: " in line]
        assert len(lines) == 1, self.output
        assert "Traceback" not in self.output, self.output
        assert "does not expect" not in self.output, self.output
        return lines[0]


def start(folder: Path, log: Path, command: tuple[str, ...], prepare: Prepare) -> ForkServerProcess:
    """Start `python -m <command>` in `folder`, after `prepare`, its output to `log`."""
    process = processes.Process(target=_run, args=(folder, log, command, prepare))
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:  # else the new process would import what runs here, pytest
        process.start()
    finally:
        sys.modules["__main__"] = main
    return process


def run_stage(folder: Path, command: str, prepare: Prepare = nothing) -> Ended:
    """Run a stage such as "stages.model base" to its end, or to the one that `prepare` gives it."""
    log = Path(tempfile.gettempdir(), f"stage-{os.getpid()}.log")  # on no disk that a test fills
    process = start(folder, log, tuple(command.split()), prepare)
    process.join(SECONDS)
    assert process.exitcode is not None, f"{command}: still runs after {SECONDS} s"
    output = log.read_text(errors="replace")
    log.unlink()
    return Ended(process.exitcode, output)


def _run(folder: Path, log: Path, command: tuple[str, ...], prepare: Prepare) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.chdir(folder)
    variables = environment()
    os.environ.clear()
    os.environ.update(variables)
    sys.path.insert(0, str(folder))
    sys.argv = list(command)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, and all below it
    prepare()
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)

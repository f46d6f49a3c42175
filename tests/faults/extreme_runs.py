"""What `saft check` says of a value, and how a stage ends that reads it."""

import contextlib
import copy
import importlib
import io
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common import params
from pipeline.common.errors import UserError
from saft.schema import check_params
from tests.faults.extreme_project import linked_copy

SECONDS = 0.8  # of the processor; a stage that computes that long has accepted its parameters
WAIT = 5.0  # seconds that it may also sleep
MEMORY = 3 * 2**30  # bytes a stage may take beyond what this process has
PARSE = params.parse
STILL_RUNNING = (-signal.SIGALRM, -signal.SIGPROF)


UNHANDLED = 98  # an exception that no stage may end with


class Ended(NamedTuple):
    """How a stage ended: status as of a process (of STILL_RUNNING: was stopped), and its stderr."""

    status: int
    text: str

    @property
    def line(self) -> str:
        """The one line of an error; "" where there is none."""
        lines = [line for line in self.text.splitlines() if "] error: " in line]
        return lines[0] if len(lines) == 1 else ""


def hold(values: dict[str, Any], monkeypatch: Any) -> None:
    """Let params.yaml hold `values`, which no YAML need be able to say."""

    def parse(text: str, file: Path) -> Any:
        return copy.deepcopy(values) if file == params.PARAMS_FILE else PARSE(text, file)

    monkeypatch.setattr(params, "parse", parse)
    params._checked.cache_clear()  # the text of the file is the same


def check(values: dict[str, Any], monkeypatch: Any) -> list[str]:
    """The problems that the parameter part of `saft check` lists."""
    hold(values, monkeypatch)
    try:
        return check_params(params.read_params())
    except UserError as error:
        return [str(error)]


def refused(stage: tuple[str, ...]) -> Ended:
    """The end of a stage that should read its parameters and stop, in this process."""
    printed = io.StringIO()
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, 2 * WAIT)
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
            main_of(stage[0])(*stage[1:])
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except TimeoutError:
        status = STILL_RUNNING[0]
    except Exception:
        status = UNHANDLED
        printed.write(traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return Ended(status, printed.getvalue())


def _stop(*_: Any) -> None:
    raise TimeoutError


def run(stage: tuple[str, ...], project: Path) -> Ended:
    """The end of a stage in a copy of the project, in a process of its own of limited time and
    memory; what it writes is thrown away."""
    with tempfile.TemporaryDirectory(dir=project.parent, ignore_cleanup_errors=True) as folder:
        project_copy = linked_copy(project, Path(folder) / "project")
        printed = Path(folder) / "printed"
        child = os.fork()
        if child == 0:
            _child(stage, project_copy, printed)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = printed.read_text(errors="replace") if printed.exists() else ""
    return Ended(status, text)


def _child(stage: tuple[str, ...], project_copy: Path, printed: Path) -> None:
    status = 97
    try:
        out = os.open(printed, os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(project_copy)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, WAIT)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        _unhandled_in(main_of(stage[0]), stage[1:])
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    finally:
        os._exit(status)


def _unhandled_in(main: Callable[..., None], arguments: tuple[str, ...]) -> None:
    sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    try:
        main(*arguments)
    except Exception:
        traceback.print_exc()
        raise SystemExit(UNHANDLED) from None


def main_of(stage: str) -> Callable[..., None]:
    """The function of a stage."""
    main = importlib.import_module(f"stages.{stage}").main
    assert callable(main)
    return main

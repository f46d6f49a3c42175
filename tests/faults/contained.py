"""A function in a process of its own, of limited memory and time: what a bomb must not exceed."""

import os
import resource
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import UserError

MEMORY = 2**30  # bytes beyond what this process has
SECONDS = 20.0  # of the processor


def contained(function: Callable[[], object]) -> str:
    """How `function` ends: "" where it returns, else the line of its UserError, or "out of memory".

    Raises:
        AssertionError: it ends with another exception, or exceeds the memory or the time.
    """
    with tempfile.NamedTemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os._exit(_limited(function, Path(said.name)))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = Path(said.name).read_text(encoding="utf-8")
    assert status in (0, 1), f"status {status}: {text}"
    assert "\n" not in text
    assert len(text) < 2000
    return text


def _limited(function: Callable[[], object], said: Path) -> int:
    try:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        function()
    except UserError as error:
        said.write_text(str(error), encoding="utf-8")
        return 1
    except MemoryError:  # which the runner of the stages says in a line
        said.write_text("out of memory", encoding="utf-8")
        return 1
    except BaseException:
        said.write_text(traceback.format_exc()[-3000:], encoding="utf-8", errors="replace")
        return 2
    return 0


def sampled(cases: Iterable[str], *slow: str) -> list[Any]:
    """Names of cases for parametrize; those that are `slow` are of the campaign only."""
    marks = pytest.mark.campaign
    return [pytest.param(name, marks=marks) if name in slow else name for name in cases]

"""How a stage ends: one line and a status, and a traceback where one is asked for."""

import errno
import os
import re
import signal
import time

import pytest
import torch

from pipeline.common.errors import UserError
from stages.runner import stage
from tests.support.failures import fails


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("data/x: broken; fix it"), 1, "error: data/x: broken; fix it"),
        (
            OSError(errno.ENOSPC, "No space left on device", "data/y"),
            1,
            "data/y: No space left on device: ",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_stage_ends_in_one_line_and_a_status(capsys, monkeypatch, error, status, text):
    monkeypatch.delenv("DVC_STAGE", raising=False)

    @stage("demo")
    def main() -> None:
        raise error

    assert fails(main) == status
    message = capsys.readouterr().err
    assert message.strip().startswith("[demo] error: ")
    assert text in message
    assert "Traceback" not in message


def test_a_defect_is_one_line_with_its_kind_and_its_line_and_a_traceback_on_demand(
    capsys, monkeypatch
):
    monkeypatch.delenv("DVC_STAGE", raising=False)

    @stage("demo")
    def main() -> None:
        raise RuntimeError("an adversarial image\nbreaks the threat model")

    monkeypatch.delenv("SAFT_TRACEBACK", raising=False)
    assert fails(main) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "RuntimeError: an adversarial image breaks the threat model" in lines[0]
    assert re.search(r"tests/stages/test_runner.py line \d+", lines[0])
    assert "SAFT_TRACEBACK=1" in lines[0]
    monkeypatch.setenv("SAFT_TRACEBACK", "1")
    assert fails(main) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_a_process_end_a_stage_like_an_interrupt(capsys, number):
    @stage("demo")
    def main() -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)

    before = signal.getsignal(number)
    assert fails(main) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    """As by nohup."""

    @stage("demo")
    def main() -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        main()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_too_little_memory_names_the_key_that_needs_less(error, monkeypatch, capsys):
    monkeypatch.delenv("DVC_STAGE", raising=False)

    @stage("finetune")
    def main() -> None:
        raise error

    assert fails(main) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "out of memory; lower finetune.batch_size in params.yaml" in lines[0]

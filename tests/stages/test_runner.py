"""How a stage ends: one line and a status, and a traceback where one is asked for."""

import errno
import gc
import os
import re
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from pipeline.common.errors import UserError
from stages.runner import stage
from tests.support.dvc_stages import STAGES
from tests.support.failures import fails
from tests.support.project import ROOT, environment


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

    before = signal.signal(number, signal.SIG_DFL)  # nohup, below which tests may run, ignores one
    try:
        assert fails(main) == 130
        assert "interrupted; nothing is half-written" in capsys.readouterr().err
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_ignored(capsys):
    """As by nohup."""

    @stage("demo")
    def main() -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        main()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert "interrupted" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("can't start new thread"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
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


@pytest.mark.gpu
@pytest.mark.parametrize("share", [1.0, 0.001], ids=["beyond-the-card", "beyond-a-share-of-it"])
def test_a_full_card_names_the_key_that_needs_less(share, monkeypatch, capsys):
    """With the error that CUDA itself raises; `share` of the card's memory is what may be used."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    gib = torch.cuda.mem_get_info()[1] / 2**30

    @stage("evaluate")
    def main() -> None:
        torch.empty(1 + int(2 * share * gib), 2**30, dtype=torch.uint8, device="cuda")

    torch.cuda.set_per_process_memory_fraction(share)
    try:
        assert fails(main) == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "out of memory; lower evaluate.batch_size in params.yaml" in lines[0]
    assert torch.ones(2, device="cuda").sum().item() == 2


@pytest.mark.parametrize("name", [n for n in STAGES if n not in ("names", "classes")])
def test_every_stage_says_what_needs_less_memory(name, monkeypatch, capsys):
    monkeypatch.delenv("DVC_STAGE", raising=False)

    @stage(name)
    def main() -> None:
        raise MemoryError

    assert fails(main) == 1
    message = capsys.readouterr().err
    assert re.search(r"out of memory; .*(lower|smaller model|fewer)", message), message


def test_imports_that_do_not_fit_into_memory_are_one_line():
    """As below a `ulimit -v`; torch alone maps more than this."""
    limit = 600 * 2**20
    done = subprocess.run(
        [sys.executable, "-m", "stages.embed", "base", "template"],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1:] == [
        "error: out of memory while the code was loaded; see `ulimit -v`"
    ]
    assert "Traceback" not in done.stderr


def test_garbage_is_collected_again_as_soon_as_a_stage_has_its_imports():
    """Run as dvc runs it; elsewhere, as in this test, importing a stage changes nothing."""
    assert gc.isenabled()
    code = """
import gc, sys
sys.argv[0] = "-m"  # what it is while `python -m stages.x` loads the package
import stages
paused = not gc.isenabled()
from stages.runner import stage
stage("demo")(lambda: print("in", paused, gc.isenabled(), gc.get_freeze_count() > 1000))()
"""
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "in True True True" in shown.stdout, shown.stderr

"""How a stage ends: one line and a status for what users can mend, a traceback for bugs."""

import errno

import pytest
import torch

from pipeline.common.errors import UserError
from stages.runner import stage
from tests.support.failures import fails


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("data/x: broken; fix it"), 1, "error: data/x: broken; fix it"),
        (OSError(errno.ENOSPC, "No space left on device", "data/y"), 1, "data/y: No space left"),
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


def test_our_own_bugs_keep_their_traceback():
    @stage("demo")
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()


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


def test_other_runtime_errors_are_bugs_and_keep_their_traceback():
    @stage("finetune")
    def main() -> None:
        raise RuntimeError("an adversarial image breaks the threat model")

    with pytest.raises(RuntimeError, match="breaks the threat model"):
        main()

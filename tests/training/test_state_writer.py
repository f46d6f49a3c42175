"""Resume states written during the training: their content, and the effect of a failing write."""

import errno
import math
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import StateWriter, load_state
from stages.runner import explain


def test_a_state_is_what_it_was_when_it_was_saved(tmp_path, monkeypatch):
    go_on, write = threading.Event(), checkpoint.save_state
    monkeypatch.setattr(checkpoint, "save_state", lambda *a: (go_on.wait(10), write(*a)))
    weight, rows = torch.zeros(3), [{"step": 0}]
    optimiser = {"state": {0: {"momentum_buffer": weight * 2, "step": None}}, "lr": [0.1]}
    with StateWriter(tmp_path, 0) as writer:
        writer.save({"encoder": {"w": weight}, "optimiser": optimiser, "rows": rows})
        assert load_state(tmp_path) is None, "it is still to be written"
        weight += 1
        optimiser["state"][0]["momentum_buffer"] += 1
        rows.append({"step": 1})
        go_on.set()
    state = load_state(tmp_path)
    assert state is not None, "leaving waits for the write"
    assert state["encoder"]["w"].tolist() == [0, 0, 0]
    assert state["optimiser"]["state"][0]["momentum_buffer"].tolist() == [0, 0, 0]
    assert state["rows"] == [{"step": 0}]


def test_states_are_due_by_time(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    with StateWriter(tmp_path, 60) as writer, StateWriter(tmp_path, math.inf) as never:
        assert not writer.due(1)
        now[0] += 60
        assert writer.due(2)
        writer.save({})
        assert not writer.due(3)
        assert not never.due(10**6)


def full_disk(path: Path, content: Any) -> None:
    path.touch()
    raise OSError(errno.ENOSPC, "No space left on device")


def save_all(folder: Path, steps: int, ending: BaseException | None = None) -> None:
    with StateWriter(folder, 0) as writer:
        for step in range(2, 2 + steps):
            writer.save({"step": step})
        if ending is not None:
            raise ending


@pytest.mark.parametrize("steps", [1, 2])
def test_a_full_disk_is_told_by_the_next_save_or_the_end(tmp_path, monkeypatch, steps):
    """In one line that names the file; the state before it stays."""
    checkpoint.save_state(tmp_path, {"step": 1})
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UserError) as caught:
        save_all(tmp_path, steps)
    assert str(caught.value).startswith(f"{tmp_path / 'state.pt'}: No space left on device: ")
    assert explain(caught.value, "finetune") == (str(caught.value), 1)
    assert load_state(tmp_path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_a_failing_write_does_not_hide_an_interrupt(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(KeyboardInterrupt):
        save_all(tmp_path, 1, KeyboardInterrupt())


def test_a_state_with_a_number_that_is_none_is_refused(tmp_path):
    weight = torch.tensor([1.0, math.nan])
    checkpoint.save_state(tmp_path, {"step": 1, "optimiser": {"state": [{"momentum": weight}]}})
    with pytest.raises(UserError, match=r"state\.pt: holds numbers .* delete it to start afresh"):
        load_state(tmp_path)

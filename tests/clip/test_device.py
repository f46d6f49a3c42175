"""Which device a stage computes on."""

import pytest

from pipeline.clip.device import pick_device
from pipeline.common.errors import UserError


def test_cuda_asked_for_where_there_is_none(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setenv("SAFT_DEVICE", "cuda")
    with pytest.raises(UserError, match="SAFT_DEVICE=cuda: no such CUDA device, torch sees 0"):
        pick_device()
    for name in ("gpu", "mps", "meta", "cuda:x"):
        monkeypatch.setenv("SAFT_DEVICE", name)
        with pytest.raises(UserError, match=f"SAFT_DEVICE={name}: not a device"):
            pick_device()
    monkeypatch.setenv("SAFT_DEVICE", "auto")
    assert pick_device().type == "cpu"


def test_torch_is_told_the_index_of_a_cuda_device(monkeypatch):
    """torch.cuda.set_device refuses a device without one (torch 2.11)."""
    told: list[object] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", told.append)
    for name in ("cuda", "cuda:1"):
        monkeypatch.setenv("SAFT_DEVICE", name)
        assert str(pick_device()) == name
    assert told == [0, 1]

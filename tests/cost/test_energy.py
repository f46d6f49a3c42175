"""The energy of a GPU, by the counter of its library."""

import sys
from types import SimpleNamespace
from typing import Any

import torch

from pipeline.cost import energy
from pipeline.cost.meter import Meter

CPU = torch.device("cpu")


class NVMLError(Exception):
    """Of the library."""


def library(readings: list[int]) -> Any:
    """NVIDIA's, with a card that counts, or one that does not."""

    def energy_of(handle: str) -> int:
        assert handle == "GPU-1-2"
        if not readings:
            raise NVMLError("Not Supported")
        return readings.pop(0)

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=str,
        nvmlDeviceGetTotalEnergyConsumption=energy_of,
    )


def test_energy_is_the_difference_of_two_readings(monkeypatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(energy, "_uuid", lambda _: "1-2")
    monkeypatch.setitem(sys.modules, "pynvml", library([5000, 12500]))
    assert Meter(cuda).stop().joules == 7.5
    monkeypatch.setitem(sys.modules, "pynvml", library([]))
    assert Meter(cuda).stop().joules is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if not installed
    assert Meter(cuda).stop().joules is None
    assert Meter(CPU).stop().joules is None

"""Energy that a GPU has taken, where NVIDIA's management library can be asked for it."""

import importlib
from typing import Any

import torch


def joules(device: torch.device) -> float | None:
    """Joules since the driver was loaded: of two readings only the difference means something.
    It is the whole card's, whoever else computes there.

    None: on the CPU, without the package pynvml (nvidia-ml-py), or on a card that does not count
    (before Volta, or a part of one).
    """
    if device.type != "cuda":
        return None
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{_uuid(device)}")
        return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
    except nvml.NVMLError:
        return None


def _uuid(device: torch.device) -> str:
    # numbers of devices are those of CUDA_VISIBLE_DEVICES to torch, but not to the library
    return str(torch.cuda.get_device_properties(device).uuid)

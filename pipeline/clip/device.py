"""Where to compute. The device comes from the environment, never from params.yaml: it must
not enter the hashes that DVC compares."""

import os
import re

import torch

from pipeline.common.errors import UserError

VARIABLE = "SAFT_DEVICE"


def pick_device() -> torch.device:
    """The device named by SAFT_DEVICE (cpu, cuda, cuda:1); unset or `auto`: CUDA if present.

    Raises:
        UserError: CUDA is asked for where there is none, or the name is unknown.
    """
    name = os.environ.get(VARIABLE, "auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"{VARIABLE}={name}: not a device; use auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"{VARIABLE}={name}: no such CUDA device, torch sees {torch.cuda.device_count()}; "
            "unset it or use cpu"
        )
    if device.type == "cuda":
        # else pinned memory and waits belong to the first card; torch 2.11 needs the index
        torch.cuda.set_device(device.index or 0)
    return device


def deterministic_device() -> torch.device:
    """`pick_device`, with the kernels of `be_deterministic`: what every stage begins with."""
    device = pick_device()
    be_deterministic()
    return device


def be_deterministic() -> None:
    """Same input, same bytes on the same hardware, and float32 that is float32: no TF32 but where
    `allow_tf32` says so. Call it before the first CUDA work.

    Memory that is about to be overwritten is not filled with NaN first, as torch does by default
    in this mode: no result depends on it. The fused attention kernel for float32 on Hopper sums
    products of three TF32 parts, nearly float32, whatever the switches say.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    allow_tf32(False)


def allow_tf32(on: bool) -> None:
    """Whether float32 matrix products on CUDA may round their factors to TF32's 10 bits.

    The only place that sets it: torch raises an error when its older and its newer switches are
    mixed in one process.
    """
    torch.backends.cuda.matmul.allow_tf32 = on


def arithmetic(device: torch.device) -> str:
    """What the last bits of a result depend on: the GPU, or how many threads share a sum."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.get_num_threads()}"

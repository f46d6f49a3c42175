"""Where to compute. The device comes from the environment, never from params.yaml: it must
not enter the hashes that DVC compares."""

import os
import re

import torch

from pipeline.errors import UserError

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
    return device


def be_deterministic() -> None:
    """Same input, same bytes on the same hardware, and float32 that is float32: no TF32, whose
    10 bits would reach every attack through the patch convolution. Call it before the first CUDA
    work."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False

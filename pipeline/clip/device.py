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
    return named_device(os.environ.get(VARIABLE, "auto"), VARIABLE)


def named_device(name: str, where: str) -> torch.device:
    """`pick_device` of a name that stands at `where`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"{where}={name}: not a device; use auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"{where}={name}: no such CUDA device, torch sees {torch.cuda.device_count()}; "
            "unset it or use cpu"
        )
    if device.type == "cuda":
        # else pinned memory and waits belong to the first card; torch 2.11 needs the index
        torch.cuda.set_device(device.index or 0)
    return device


def deterministic_device() -> torch.device:
    """`pick_device`, with the kernels of `enable_determinism`: what every stage begins with. Prints
    a line where more devices would be there."""
    device = pick_device()
    enable_determinism()
    if remark := one_of_several(device):
        print(remark, flush=True)
    return device


def one_of_several(device: torch.device) -> str:
    """A line for people where a process computes on one of several CUDA devices that nobody shared
    out: it never spreads by itself, as DataParallel would. Empty where a device was named, or where
    this process is one of several."""
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    shared = "," in os.environ.get("SAFT_DEVICES", "") or "RANK" in os.environ
    if count < 2 or device.index is not None or shared:
        return ""
    return (
        f"computes on cuda:0 alone, torch sees {count} CUDA devices: SAFT_DEVICES shares out "
        "evaluate and check, SAFT_PROCESSES finetune (docs/several-gpus.md)"
    )


def enable_determinism() -> None:
    """Same input, same bytes on the same hardware, and no TF32 except where `allow_tf32` enables
    it. Call it before the first CUDA work.

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
    """What determines the last bits of a result: the GPU, or how many threads share a sum."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.get_num_threads()}"

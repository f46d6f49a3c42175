"""Precisions of matrix products, and how fast a device multiplies in each."""

from typing import get_args

import torch

from benchmarks.timing import seconds_of
from pipeline.device import allow_tf32
from pipeline.errors import UserError
from pipeline.precision import Precision, check_precision


def available(device: torch.device) -> list[Precision]:
    """The precisions that a device has."""
    every: tuple[Precision, ...] = get_args(Precision)
    return [precision for precision in every if _has(precision, device)]


def _has(precision: Precision, device: torch.device) -> bool:
    try:
        check_precision(precision, "", device)
    except UserError:
        return False
    return True


def fitting(size: int, device: torch.device) -> int:
    """`size`, halved until three float32 matrices of that side take at most a quarter of the
    memory that is free on a CUDA device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        while 3 * 4 * size**2 > free / 4 and size > 1:
            size //= 2
    return size


def product_speed(size: int, precision: Precision, device: torch.device, repeats: int = 1) -> float:
    """TFLOP/s of one product of two matrices of `size` rows and columns, median of `repeats`."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    allow_tf32(precision == "tf32")
    try:
        seconds = seconds_of(lambda: left @ right, device, repeats, warmup=1)
    finally:
        allow_tf32(False)
    return 2 * size**3 / seconds / 1e12

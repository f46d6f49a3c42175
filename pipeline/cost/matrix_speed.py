"""The speed of a device's matrix products: the ceiling that training and attacks are held to."""

import time
from collections.abc import Callable

import torch

from pipeline.clip.device import allow_tf32
from pipeline.clip.precision import TENSOR_CORES, Precision

LARGEST = 8192  # side of the factors on CUDA, where smaller ones measure the launches too
CPU_SIDE = 512  # the factors stay in the cache
REPEATS = 3  # at least
PART = 0.25  # of the free memory of a GPU that three matrices may take


def precisions(device: torch.device) -> list[Precision]:
    """Those that `device` computes in."""
    if device.type != "cuda":
        return ["float32", "bf16"]
    if torch.cuda.get_device_capability(device) < TENSOR_CORES:
        return ["float32"]
    return ["float32", "tf32", "bf16"]


def matrix_flop(device: torch.device, precision: Precision, seconds: float = 0.03) -> float:
    """FLOPs per second of the fastest of at least three square products.

    Args:
        seconds: how long to repeat them.
    """
    before = torch.backends.cuda.matmul.allow_tf32
    allow_tf32(precision == "tf32")
    try:
        side = side_that_fits(device, 2 if precision == "bf16" else 4)
        factor = torch.rand(side, side, device=device)
        factor = factor.bfloat16() if precision == "bf16" else factor
        multiply = lambda: torch.mm(factor, factor)  # noqa: E731
        multiply()  # the first one loads libraries
        return 2 * side**3 / _fastest(multiply, device, seconds)
    finally:
        allow_tf32(before)


def side_that_fits(device: torch.device, element_bytes: int) -> int:
    """Side of the matrices: LARGEST on CUDA, halved until three of them fit a part of what is
    free."""
    if device.type != "cuda":
        return CPU_SIDE
    free, side = torch.cuda.mem_get_info(device)[0], LARGEST
    while 3 * element_bytes * side**2 > PART * free and side > CPU_SIDE:
        side //= 2
    return side


def _fastest(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of the fastest run, at least REPEATS of them."""
    took: list[float] = []
    while len(took) < REPEATS or sum(took) < seconds:
        took.append(_timed(run, device))
    return min(took)


def _timed(run: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        started = time.perf_counter()
        run()
        return time.perf_counter() - started
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
    return start.elapsed_time(end) / 1000

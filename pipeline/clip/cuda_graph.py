"""Work on CUDA that the host launches once and the device repeats: CUDA graphs.

In bf16 a forward and backward pass at batch 128 takes the host longer to launch, kernel by kernel,
than the device to compute. A graph launches all kernels at once: the same kernels on the same
numbers, so the results are those of the plain call, bit for bit. It is environment, not a
parameter: SAFT_CUDA_GRAPHS=0 switches it off. It holds the memory of what it repeats.
"""

import os
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.clip import forward_counts
from pipeline.common.errors import UserError, one_line

VARIABLE = "SAFT_CUDA_GRAPHS"
AFTER = 4  # calls in a row; a capture costs about as much as what some replays save
Function = Callable[..., tuple[Tensor, ...]]


class _Captured(NamedTuple):
    """A graph, the tensors that it reads and writes, and the images that it encodes."""

    signature: Hashable
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    seen: forward_counts.Seen


def switched_on() -> bool:
    """Whether SAFT_CUDA_GRAPHS lets CUDA graphs be used: 1 or unset, not 0.

    Raises:
        UserError: it is something else.
    """
    value = os.environ.get(VARIABLE, "1")
    if value not in ("0", "1"):
        raise UserError(f"{VARIABLE}={value}: is neither 0 nor 1; unset it, or use 0 for none")
    return value == "1"


def on_cuda(value: Tensor) -> bool:
    """Whether there are graphs for such a tensor."""
    return value.is_cuda


class Replay:
    """Calls a function of tensors, on CUDA as a graph once that pays.

    A graph serves one signature (shapes, dtypes, strides, and `key`); others are plain calls. It
    is captured in the `after`-th call in a row with the same signature, in place of the one before:
    the plain calls are the warm-up that a capture needs, and the last, smaller batch of an epoch
    captures nothing. Example with after=2 and batches of 4 4 2 4 4 2: plain, captured, plain,
    replayed, replayed, plain.
    """

    def __init__(self, after: int = AFTER) -> None:
        self.after, self.enabled = max(after, 2), switched_on()
        self._last: Hashable = None
        self._in_a_row = 0
        self._captured: _Captured | None = None

    @property
    def holds_graph(self) -> bool:
        """Whether something was captured, and its memory is kept."""
        return self._captured is not None

    def __call__(
        self, function: Function, *inputs: Tensor, key: Hashable = None
    ) -> tuple[Tensor, ...]:
        """What `function(*inputs)` returns, in tensors of the caller's own.

        Args:
            function: reads besides its inputs only tensors that keep their addresses (weights
                updated in place), never makes the host wait, and draws no random numbers.
            key: tells functions apart that are to be called through one `Replay`.

        Raises:
            UserError: the capture failed; nothing falls back to plain calls silently.
        """
        if not (self.enabled and on_cuda(inputs[0])):
            return function(*inputs)
        signature = (key, *((t.shape, t.dtype, t.stride()) for t in inputs))
        self._in_a_row = self._in_a_row + 1 if signature == self._last else 1
        self._last = signature
        if self._captured is None or self._captured.signature != signature:
            if self._in_a_row < self.after:
                return function(*inputs)
            self._captured = None  # its memory first
            self._captured = _capture(function, inputs, signature)
        return _replay(self._captured, inputs)


def _capture(function: Function, inputs: tuple[Tensor, ...], signature: Hashable) -> _Captured:
    """Record the kernels of a call without running them. Other threads, which read ahead and
    upload, go on meanwhile: hence thread_local."""
    fixed, graph = tuple(value.detach().clone() for value in inputs), torch.cuda.CUDAGraph()
    stream = torch.cuda.current_stream()
    try:
        with (
            forward_counts.set_aside() as seen,
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            outputs = function(*fixed)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        torch.cuda.set_stream(stream)  # torch leaves the capture's behind
        reason = one_line(_first(error), 300)
        raise UserError(
            f"{VARIABLE}: a CUDA graph could not be captured ({reason}); set {VARIABLE}=0: the "
            "results are the same without"
        ) from error
    return _Captured(signature, graph, fixed, outputs, seen)


def _first(error: BaseException) -> BaseException:
    """The error that the others came of: the end of a broken capture raises one of its own."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _replay(captured: _Captured, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    for fixed, value in zip(captured.inputs, inputs, strict=True):
        fixed.copy_(value)
    captured.graph.replay()
    forward_counts.add(captured.seen)
    return tuple(value.detach().clone() for value in captured.outputs)

"""Resume state of a training: tensors on disk that never run code."""

import io
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError


def state_file(folder: Path) -> Path:
    """Where the state of a training that works in `folder` lies."""
    return folder / "state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state atomically.

    Raises:
        OSError: it cannot be written; it names the file, as that of a full disk does not.
    """
    buffer = io.BytesIO()  # torch's own writer hides a full disk behind an internal error
    torch.save(state, buffer)
    path = state_file(folder)
    try:
        with replacing_file(path) as partial:
            partial.write_bytes(buffer.getbuffer())
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


class StateWriter:
    """Writes states into `folder` from a thread of its own, at most one every `seconds`: the
    training goes on meanwhile. A context; leaving it waits for the last write."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds
        self._last = time.monotonic()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="resume-state")
        self._writing: Future[None] | None = None

    def __enter__(self) -> "StateWriter":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._pool.shutdown()
        if kind is None:
            self._wait()

    def due(self, _: int) -> bool:
        """Whether the time has come."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, state: dict[str, Any]) -> None:
        """Copy the state to the CPU and have it written; waits for the state before it.

        Raises:
            OSError: the state before it could not be written.
        """
        self._wait()
        self._writing = self._pool.submit(save_state, self.folder, _on_cpu(state))
        self._last = time.monotonic()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()


def _on_cpu(value: Any) -> Any:
    """The same, every tensor in it copied to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(item) for item in value)
    return value


def load_state(folder: Path) -> dict[str, Any] | None:
    """The state on the CPU, or None if there is none: optimisers move what they need, and keep
    their step counts where the host can read them. Never runs code from the file.

    Raises:
        UserError: the file is damaged, holds more than tensors and plain values, or a number that
            is not finite.
    """
    path = state_file(folder)
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:  # of bytes that are no pickle, torch.load raises anything
        raise UserError(f"{path}: not a resume state; delete it to start afresh") from None
    if not _finite(state):
        raise UserError(f"{path}: holds numbers that are not finite; delete it to start afresh")
    return state


def _finite(value: Any) -> bool:
    """Whether every tensor in it is."""
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    items = value.values() if isinstance(value, dict) else value
    return not isinstance(value, dict | list | tuple) or all(map(_finite, items))

"""Batches on their way to a device while it computes.

`send` is called in a reading thread: the copy goes from pinned memory over a stream of its own.
`receive`, called where the batch is used, lets the device wait for it and the host go on. On a
CPU both hand the arrays through.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Sent(NamedTuple):
    """Tensors on the device, whole once `event` has happened (None: already)."""

    tensors: list[Tensor]
    event: torch.cuda.Event | None


class Uploader:
    """Sends numpy arrays to `device`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, *arrays: np.ndarray) -> Sent:
        """Start the copies. torch keeps pinned memory until a copy from it has ended."""
        tensors = [torch.from_numpy(np.require(a, requirements=["C", "W"])) for a in arrays]
        if self.stream is None:
            return Sent(tensors, None)
        with torch.cuda.stream(self.stream):
            copies = [t.pin_memory().to(self.device, non_blocking=True) for t in tensors]
            event = torch.cuda.Event()
            event.record(self.stream)
        return Sent(copies, event)

    def receive(self, sent: Sent) -> list[Tensor]:
        """The tensors, for work on the current stream."""
        if sent.event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(sent.event)
            for tensor in sent.tensors:
                tensor.record_stream(current)
        return sent.tensors

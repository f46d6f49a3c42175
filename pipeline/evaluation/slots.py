"""Images under attack in a fixed number of slots.

Misclassified images leave and waiting ones take their slots. Example with 3 slots and 5 images,
`rows` being the image in each slot:
    [0 1 2]   image 1 is misclassified: slot 1 is free, image 3 takes it
    [0 3 2]   images 0 and 2 are misclassified: image 4 takes slot 0, slot 2 is dropped
    [4 3]
Images do not interact (summed loss, per-image step, projection and start), so this changes no
verdict. Which image is in which slot, and at which step, is known on the host: an iteration in
which no image leaves waits for the device once, for the verdicts.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pipeline.evaluation.interface import Settings, Targets

State = dict[str, Tensor]
# images (B, 3, S, S), labels (B,), image numbers and rounds, int64 arrays (B,) -> per-image
# state; all of it has the image as its first axis and is on the images' device
Begin = Callable[[Tensor, Tensor, np.ndarray, np.ndarray], State]


class Waiting:
    """The targets in their order, read ahead in blocks."""

    def __init__(self, targets: Targets, settings: Settings) -> None:
        self.next, self.total = 0, len(targets.labels)
        self._blocks = targets.batches(settings.batch_size, settings.device)
        self._remainder: tuple[Tensor, ...] = ()

    def take(self, count: int) -> tuple[np.ndarray, Tensor, Tensor]:
        """Positions, images and labels of the next `count` targets, or of all that are left."""
        count = min(count, self.total - self.next)
        parts: list[tuple[Tensor, ...]] = []
        while sum(len(labels) for _, labels in parts) < count:
            block = self._remainder or next(self._blocks)
            missing = count - sum(len(labels) for _, labels in parts)
            parts.append(tuple(values[:missing] for values in block))
            remainder = tuple(values[missing:] for values in block)
            self._remainder = remainder if len(remainder[1]) else ()
        positions = np.arange(self.next, self.next + count)
        self.next += count
        images, labels = (torch.cat(values) for values in zip(*parts, strict=True))
        return positions, images, labels


class Slots:
    """The images under attack right now; row i of every field belongs to one image.

    On the host, int64 (B,): rows, the position among the targets; round, which restart (or target
    class) it is in; step, the iterate within the round; iterate, iterates so far over all rounds.
    On the device: images, labels, and state, the attack's own.
    """

    rows: np.ndarray
    images: Tensor
    labels: Tensor
    state: State

    def __init__(self, targets: Targets, settings: Settings, begin: Begin) -> None:
        self.targets, self.settings, self.begin = targets, settings, begin
        self.waiting = Waiting(targets, settings)
        self.rows = self.round = self.step = self.iterate = np.empty(0, dtype=np.int64)
        self._free = np.empty(0, dtype=np.int64)  # slots whose images have left

    def refill(self) -> int:
        """Give free slots to waiting images, drop those that none waits for; how many images are
        under attack."""
        if self.waiting.next == 0:
            self._open()
        elif len(self._free):
            self._replace()
            self._shrink()
        return len(self.rows)

    def _open(self) -> None:
        if not self.waiting.total:
            return
        self.rows, self.images, self.labels = self.waiting.take(self.settings.batch_size)
        self.round, self.step, self.iterate = (np.zeros_like(self.rows) for _ in range(3))
        self.state = self._begun(np.arange(len(self.rows)))

    def _begun(self, slot_indices: np.ndarray) -> State:
        index = self.index(slot_indices)
        numbers = self.targets.numbers[self.rows[slot_indices]]
        return self.begin(self.images[index], self.labels[index], numbers, self.round[slot_indices])

    def index(self, slot_indices: np.ndarray) -> Tensor:
        """Slots as an index on the device."""
        return torch.from_numpy(slot_indices).to(self.settings.device, non_blocking=True)

    def _replace(self) -> None:
        count = min(len(self._free), self.waiting.total - self.waiting.next)
        if not count:
            return
        slot_indices, self._free = self._free[:count], self._free[count:]
        self.rows[slot_indices], images, labels = self.waiting.take(count)
        self.round[slot_indices] = self.step[slot_indices] = self.iterate[slot_indices] = 0
        index = self.index(slot_indices)
        self.images = self.images.index_copy(0, index, images)
        self.labels = self.labels.index_copy(0, index, labels)
        self._start(slot_indices)

    def _start(self, slot_indices: np.ndarray) -> None:
        """Set the images in slots `slot_indices` to the first iterate of their round."""
        index = self.index(slot_indices)
        for key, value in self._begun(slot_indices).items():
            self.state[key] = self.state[key].index_copy(0, index, value)

    def _shrink(self) -> None:
        if not len(self._free):
            return
        stay = np.setdiff1d(np.arange(len(self.rows)), self._free)
        self._free = self._free[:0]
        for name in ("rows", "round", "step", "iterate"):
            setattr(self, name, getattr(self, name)[stay])
        index = self.index(stay)
        self.images, self.labels = self.images[index], self.labels[index]
        self.state = {key: value[index] for key, value in self.state.items()}

    def next_round(self, mask: np.ndarray) -> None:
        """Restart the images in bool (B,) `mask`, one round later; call before `advance`."""
        slot_indices = np.flatnonzero(mask)
        if len(slot_indices):
            self.round[slot_indices] += 1
            self._start(slot_indices)
            self.step[slot_indices] = -1  # `advance` makes it 0

    def advance(self, leaving: np.ndarray) -> int:
        """Free the slots in bool (B,) `leaving`, count all on; how many were freed."""
        self._free = np.flatnonzero(leaving)
        self.step += 1
        self.iterate += 1
        return len(self._free)

"""Images under attack in a fixed number of slots, and the verdicts on them.

Fooled images leave and waiting ones take their slots. Images do not interact (summed loss,
per-image step, projection and start), so this changes no verdict; see `Recorder` for what
counts as fooled.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.attack import lengths, project
from pipeline.attacks import Outcome, Settings, Targets, empty_outcome, margins
from pipeline.victim import Victim

State = dict[str, Tensor]
# images (B, 3, S, S), labels (B,), image numbers (B,), round (B,) -> per-image state; all of it
# has the image as its first axis and lies on the images' device
Begin = Callable[[Tensor, Tensor, np.ndarray, Tensor], State]
SLACK = 1e-6  # float32 rounding of images + perturbation - images, for pixels in [0, 1]


class Slots:
    """The images under attack right now; row i of every field belongs to one image.

    rows: position among the targets; round: which restart (or target class) it is in; step:
    iterate within the round; iterate: iterates so far over all rounds; state: the attack's own.
    """

    def __init__(self, targets: Targets, settings: Settings, begin: Begin) -> None:
        self.targets, self.settings, self.begin = targets, settings, begin
        self.waiting: Iterator[int] = iter(range(len(targets.labels)))
        none = torch.empty(0, dtype=torch.int64, device=settings.device)
        self.rows = self.labels = self.step = self.round = self.iterate = none
        self.images = torch.empty(0, *targets.pixels.shape[1:], device=settings.device)
        self.state: State = {}

    def refill(self) -> int:
        """Fill free slots from the queue; how many images are under attack."""
        free = self.settings.batch_size - len(self.rows)
        new = [row for _, row in zip(range(free), self.waiting, strict=False)]
        if new:
            self._add(np.array(new))
        return len(self.rows)

    def _add(self, new: np.ndarray) -> None:
        images, labels = self.targets.read(new, self.settings.device)
        rows = torch.from_numpy(new).to(self.settings.device)
        zeros = torch.zeros_like(rows)
        state = self.begin(images, labels, self.targets.numbers[new], zeros)
        self.state = {
            key: torch.cat([self.state[key], value]) if self.state else value
            for key, value in state.items()
        }
        self.rows, self.labels = torch.cat([self.rows, rows]), torch.cat([self.labels, labels])
        self.images = torch.cat([self.images, images])
        self.step = torch.cat([self.step, zeros])
        self.round = torch.cat([self.round, zeros])
        self.iterate = torch.cat([self.iterate, zeros])

    def next_round(self, mask: Tensor) -> None:
        """Start the images in bool (B,) `mask` anew, one round later; call before `advance`."""
        at = mask.nonzero()[:, 0]
        if not len(at):
            return
        self.round[at] += 1
        numbers = self.targets.numbers[self.rows[at].cpu().numpy()]
        fresh = self.begin(self.images[at], self.labels[at], numbers, self.round[at])
        for key, value in fresh.items():
            self.state[key] = self.state[key].index_copy(0, at, value)
        self.step[at] = -1  # `advance` makes it 0

    def advance(self, leaving: Tensor) -> int:
        """Free the slots in bool (B,) `leaving`, count the others on; how many were freed."""
        gone = int(leaving.sum())
        if gone:
            stay = ~leaving
            for name in ("rows", "labels", "images", "step", "round", "iterate"):
                setattr(self, name, getattr(self, name)[stay])
            self.state = {key: value[stay] for key, value in self.state.items()}
        self.step = self.step + 1
        self.iterate = self.iterate + 1
        return gone


class Recorder:
    """Writes verdicts down, each confirmed on the pixels themselves.

    An iterate that the attack's own forward calls misclassified is classified once more, from
    its clipped pixel values and after its ball and range were checked; only if that says wrong
    too is the image fooled. The last iterate of a survivor is judged the same way.
    """

    def __init__(self, victim: Victim, targets: Targets, settings: Settings) -> None:
        self.victim, self.settings = victim, settings
        self.outcome: Outcome = empty_outcome(targets, settings)

    def settle(self, slots: Slots, perturbation: Tensor, wrong: Tensor, final: Tensor) -> Tensor:
        """Judge the current iterates; bool (B,): images that are done.

        Args:
            perturbation: (B, 3, S, S) of the slots, the current iterate.
            wrong: bool (B,) misclassified according to the attack's own forward.
            final: bool (B,) the image's last iterate.
        """
        place = slots.rows.cpu().numpy()
        follow = torch.from_numpy(self.settings.follow[place]).to(wrong.device)
        open_ = torch.from_numpy(self.outcome.fooled_at[place] < 0).to(wrong.device)
        at = ((wrong & open_) | final).nonzero()[:, 0]
        leaving = final.clone()
        if not len(at):
            return leaving
        logits = verified_logits(self.victim, slots.images[at], perturbation[at], self.settings)
        fooled = logits.argmax(1) != slots.labels[at]
        decided = open_[at] & (fooled | final[at])
        self._write(slots, perturbation, at[decided], logits[decided], fooled[decided])
        last = (final & follow)[at].cpu().numpy()
        rows = place[at.cpu().numpy()]
        self.outcome.last_prediction[rows[last]] = logits.argmax(1).cpu().numpy()[last]
        leaving[at] |= fooled & ~follow[at]
        return leaving

    def _write(
        self, slots: Slots, perturbation: Tensor, at: Tensor, logits: Tensor, fooled: Tensor
    ) -> None:
        rows = slots.rows[at].cpu().numpy()
        iterate = slots.iterate[at].cpu().numpy()
        self.outcome.fooled_at[rows] = np.where(fooled.cpu().numpy(), iterate, -1)
        self.outcome.prediction[rows] = logits.argmax(1).cpu().numpy()
        self.outcome.margin[rows] = margins(logits, slots.labels[at]).cpu().numpy()
        for place, row in zip(at, rows, strict=True):
            example = np.flatnonzero(self.settings.examples == row)
            if len(example):
                self.outcome.perturbations[example] = perturbation[place].detach().cpu().numpy()

    def zero_gradients(self, slots: Slots, gradient: Tensor) -> None:
        """Note the share of zero-gradient pixels of the images that are at their very start."""
        first = (slots.iterate == 0).nonzero()[:, 0]
        if len(first):
            share = (gradient[first] == 0).flatten(1).float().mean(1)
            self.outcome.zero_gradient[slots.rows[first].cpu().numpy()] = share.cpu().numpy()


@torch.no_grad()
def verified_logits(
    victim: Victim, images: Tensor, perturbation: Tensor, settings: Settings
) -> Tensor:
    """(B, C) logits of the adversarial images from their clipped pixel values.

    Raises:
        RuntimeError: a perturbation is outside the ball or an image outside [0, 1]: an attack
            that breaks its threat model is a bug, whatever accuracy it would report.
    """
    adversarial = images + perturbation
    size = adversarial - images
    size = size.abs().amax((1, 2, 3)) if settings.norm == "linf" else lengths(size).flatten()
    slack = SLACK if settings.norm == "linf" else SLACK * images[0].numel() ** 0.5
    low, high = float(adversarial.min()), float(adversarial.max())
    if not (float(size.max()) <= settings.epsilon + slack and low >= -SLACK and high <= 1 + SLACK):
        raise RuntimeError(
            f"an adversarial image breaks the threat model: {settings.norm} size "
            f"{float(size.max()):.8f} > {settings.epsilon:.8f}, or pixels {low}..{high}"
        )
    return victim(adversarial.clamp(0, 1))


def start_noise(
    number: int, shape: tuple[int, ...], settings: Settings, round_: int = 0
) -> np.ndarray:
    """A float32 start inside the ball that depends on image number, seed and round alone: not
    on the batch, the order, or how many images are attacked. Round 0 is `settings.starts` where
    that has the image.

    l-infinity: U(-epsilon, epsilon) per pixel; l2: an evenly drawn direction, a length from
    U(0, epsilon).
    """
    if not round_ and settings.starts and number in settings.starts:
        return np.asarray(settings.starts[number], dtype=np.float32)
    rng = np.random.Generator(np.random.Philox(key=[settings.seed + (round_ << 32), number]))
    if settings.norm == "linf":
        noise = 2 * rng.random(shape, dtype=np.float32) - 1
    else:
        noise = rng.standard_normal(shape, dtype=np.float32)
        noise *= np.float32(rng.random() / np.linalg.norm(noise))
    return (noise * np.float32(settings.epsilon)).astype(np.float32)


def random_starts(
    images: Tensor, numbers: np.ndarray, rounds: Tensor, settings: Settings
) -> Tensor:
    """(B, 3, S, S) projected `start_noise` of each image, on the images' device."""
    shape = tuple(images.shape[1:])
    noise = [
        start_noise(int(n), shape, settings, int(r))
        for n, r in zip(numbers, rounds.tolist(), strict=True)
    ]
    drawn = torch.from_numpy(np.stack(noise)).to(images.device)
    return project(images, drawn, settings.epsilon, settings.norm)

"""PGD on the cross-entropy of a zero-shot classifier, judged at every iterate.

Source: SAFT's evaluation (released attacks/pgd_attack.py: l-infinity, uniform start, fixed
step, cross-entropy), plus the any-iterate verdict of AutoAttack: robust means right at the
start and after every step.

Fooled images leave the batch and waiting ones take their slots. Images do not interact
(summed loss, per-image projection and start), so this changes no any-iterate verdict.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.attack import ascend, project
from pipeline.attacks import Outcome, Settings, Targets, margins
from pipeline.progress import counter


def run(classifier: nn.Module, targets: Targets, settings: Settings) -> Outcome:
    """Attack every target for up to `settings.steps` steps, in float32.

    Args:
        classifier: (B, 3, S, S) pixels in [0, 1] -> logits (B, C).
    """
    outcome = _empty(targets, settings)
    slots = _Slots(targets, settings)
    with counter("pgd", len(targets.labels), "image") as bar:
        while slots.refill():
            gradient, logits = _forward(classifier, slots)
            leaving = _judge(logits, slots, outcome, settings)
            slots.perturbation = ascend(
                slots.images, slots.perturbation, gradient, settings.step_size, settings.epsilon
            )
            bar.update(slots.drop(leaving))
    return outcome


def start_noise(number: int, shape: tuple[int, ...], epsilon: float, seed: int) -> np.ndarray:
    """U(-epsilon, epsilon) float32 noise that depends on the image's number and the seed
    alone: not on its batch, its order, or how many images are attacked."""
    rng = np.random.Generator(np.random.Philox(key=[seed, number]))
    return ((2 * rng.random(shape, dtype=np.float32) - 1) * np.float32(epsilon)).astype(np.float32)


class _Slots:
    """The images under attack right now; row i of every field belongs to one image."""

    def __init__(self, targets: Targets, settings: Settings) -> None:
        self.targets, self.settings = targets, settings
        self.waiting: Iterator[int] = iter(range(len(targets.labels)))
        shape, device = targets.pixels.shape[1:], settings.device
        self.rows = torch.empty(0, dtype=torch.int64, device=device)
        self.step = torch.empty(0, dtype=torch.int64, device=device)
        self.labels = torch.empty(0, dtype=torch.int64, device=device)
        self.images = torch.empty(0, *shape, device=device)
        self.perturbation = torch.empty(0, *shape, device=device)

    def refill(self) -> int:
        """Fill free slots from the queue; how many images are under attack."""
        free = self.settings.batch_size - len(self.rows)
        new = [row for _, row in zip(range(free), self.waiting, strict=False)]
        if new:
            self._add(np.array(new))
        return len(self.rows)

    def _add(self, new: np.ndarray) -> None:
        targets, settings = self.targets, self.settings
        shape = targets.pixels.shape[1:]
        images, labels = targets.read(new, settings.device)
        noise = np.stack(
            [
                start_noise(int(n), shape, settings.epsilon, settings.seed)
                for n in targets.numbers[new]
            ]
        )
        start = project(images, torch.from_numpy(noise).to(settings.device), settings.epsilon)
        rows = torch.from_numpy(new).to(settings.device)
        self.rows = torch.cat([self.rows, rows])
        self.step = torch.cat([self.step, torch.zeros_like(rows)])
        self.labels = torch.cat([self.labels, labels])
        self.images = torch.cat([self.images, images])
        self.perturbation = torch.cat([self.perturbation, start])

    def drop(self, leaving: Tensor) -> int:
        """Free the slots marked in `leaving`, advance the others; how many were freed."""
        stay = ~leaving
        self.rows, self.labels = self.rows[stay], self.labels[stay]
        self.step = self.step[stay] + 1
        self.images, self.perturbation = self.images[stay], self.perturbation[stay]
        return int(leaving.sum())


def _forward(classifier: nn.Module, slots: _Slots) -> tuple[Tensor, Tensor]:
    perturbation = slots.perturbation.detach().requires_grad_()
    logits = classifier(slots.images + perturbation)
    loss = F.cross_entropy(logits, slots.labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, perturbation)
    return gradient, logits.detach()


def _judge(logits: Tensor, slots: _Slots, outcome: Outcome, settings: Settings) -> Tensor:
    """Record verdicts at this iterate; which images leave."""
    prediction = logits.argmax(1)
    rows = slots.rows.cpu().numpy()
    wrong = (prediction != slots.labels).cpu().numpy()
    final = (slots.step == settings.steps).cpu().numpy()
    decided = (outcome.fooled_at[rows] < 0) & (wrong | final)
    at = rows[decided]
    outcome.fooled_at[at] = np.where(wrong, slots.step.cpu().numpy(), -1)[decided]
    outcome.prediction[at] = prediction.cpu().numpy()[decided]
    outcome.margin[at] = margins(logits, slots.labels).cpu().numpy()[decided]
    _keep_examples(slots, outcome, decided, settings)
    follow = settings.follow[rows]
    outcome.last_prediction[rows[final & follow]] = prediction.cpu().numpy()[final & follow]
    return torch.from_numpy(final | (wrong & ~follow)).to(logits.device)


def _keep_examples(
    slots: _Slots, outcome: Outcome, decided: np.ndarray, settings: Settings
) -> None:
    rows = slots.rows.cpu().numpy()
    for place in np.flatnonzero(decided & np.isin(rows, settings.examples)):
        example = np.searchsorted(settings.examples, rows[place])
        outcome.perturbations[example] = slots.perturbation[place].detach().cpu().numpy()


def _empty(targets: Targets, settings: Settings) -> Outcome:
    count = len(targets.labels)
    minus_one = np.full(count, -1, dtype=np.int32)
    return Outcome(
        fooled_at=minus_one.copy(),
        prediction=minus_one.copy(),
        margin=np.zeros(count, dtype=np.float32),
        last_prediction=minus_one.copy(),
        perturbations=np.zeros(
            (len(settings.examples), *targets.pixels.shape[1:]), dtype=np.float32
        ),
    )

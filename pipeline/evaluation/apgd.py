"""Auto-PGD: PGD with momentum whose step size halves itself; there is none to choose.

Source: Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of
diverse parameter-free attacks" (ICML, arXiv 2003.01690), algorithm 1, in the details that their
released code (fra31/auto-attack) settles: see `apgd_steps`. The whole state is one per image, so
images at different iterations share a batch, and misclassified ones leave it at once.
Points are adversarial images, float32 (B, 3, S, S) in [0, 1]; epsilon is in the same unit.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.cuda_graph import Replay
from pipeline.common.bounds import Count
from pipeline.common.params import Section
from pipeline.common.progress import counter
from pipeline.evaluation.apgd_steps import step, update_state, windows
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.slots import Slots, State
from pipeline.evaluation.starts import given_starts, start_noise
from pipeline.evaluation.verdicts import Recorder
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.zeroshot.pgd_step import l2_norms

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # see `apgd_losses`
# images (B, 3, S, S), labels (B,), round (B,) -> target classes (B,)
TargetSelection = Callable[[Tensor, Tensor, Tensor], Tensor]


class Params(Section):
    """`evaluate.options` of an untargeted APGD; as published: 100 steps, 1 restart in AutoAttack's
    standard version and 5 in its custom one."""

    steps: Count
    restarts: Count
    """Runs per image, each from its own start; the next only if nothing was misclassified yet."""


def max_iterates(params: Params) -> int:
    """Iterates of an image that is never misclassified, the starts included."""
    return params.restarts * (params.steps + 1)


class Plan(NamedTuple):
    """One attack: `rounds` starts per image, `steps` steps from each, ascending `loss`."""

    name: str
    steps: int
    rounds: int
    loss: Loss
    select_targets: TargetSelection | None = None
    note: str = ""


def run(
    classifier: ZeroShotClassifier, targets: Targets, settings: Settings, plan: Plan
) -> Outcome:
    """Attack every target; every iterate is judged. The last iterate has no meaning here (the
    step size ends near zero): followed images are treated as the others."""
    settings = settings._replace(follow=np.zeros_like(settings.follow))
    slots, recorder = open_slots(targets, settings, plan), Recorder(classifier, targets, settings)
    replay = Replay()
    with counter(plan.name, len(targets.labels), "image") as bar:
        while slots.refill():
            gradient, losses, logits = forward(classifier, slots, plan.loss, replay)
            recorder.zero_gradients(slots, gradient)
            over = slots.step == plan.steps
            final = over & (slots.round == plan.rounds - 1)
            perturbation = slots.state["point"] - slots.images
            leaving = recorder.record_iterate(slots, perturbation, logits, final)
            step(slots, update_state(slots, losses, gradient, plan.steps), settings)
            slots.next_round(over & ~final & ~leaving)
            bar.update(slots.advance(leaving))
    return recorder.outcome._replace(note=plan.note)


def open_slots(targets: Targets, settings: Settings, plan: Plan) -> Slots:
    """Slots whose images begin at their own start, with no loss computed yet."""

    def begin(images: Tensor, labels: Tensor, numbers: np.ndarray, rounds: np.ndarray) -> State:
        start = surface_starts(images, numbers, rounds, settings)
        none = torch.zeros_like(labels)
        lowest = torch.full(labels.shape, -torch.inf, device=images.device)
        return {
            "point": start,
            "previous": start,
            "best": start,
            "best_gradient": torch.zeros_like(images),
            "best_loss": lowest,
            "last_loss": lowest,
            "checked_loss": lowest,  # the best loss at the last checkpoint
            "size": torch.full_like(lowest, 2 * settings.epsilon),
            "window": torch.full_like(labels, windows(plan.steps).first),
            "since": none,  # steps since the last checkpoint
            "rises": none,  # and those of them that raised the loss
            "reduced": none == 0,  # the last checkpoint halved the step size
            "taken": none,  # steps of this round
            "target": plan.select_targets(images, labels, torch.from_numpy(rounds).to(none))
            if plan.select_targets
            else labels,
        }

    return Slots(targets, settings, begin)


def surface_starts(
    images: Tensor, numbers: np.ndarray, rounds: np.ndarray, settings: Settings
) -> Tensor:
    """First points (B, 3, S, S): the images plus `start_noise` stretched to the surface of the
    ball (divided by its largest value or its length), clipped to [0, 1]. A perturbation in
    `settings.starts` is used as it is, in round 0."""
    unit = settings._replace(epsilon=1.0, starts=None)
    noise = start_noise(numbers, tuple(images.shape[1:]), unit, rounds, images.device)
    size = noise.abs().amax((1, 2, 3), keepdim=True) if unit.norm == "linf" else l2_norms(noise)
    noise = noise / size * torch.full_like(size, settings.epsilon)
    for row, start in given_starts(numbers, rounds, settings):
        noise[row] = torch.from_numpy(start).to(noise)
    return (images + noise).clamp(0, 1)


def forward(
    classifier: ZeroShotClassifier, slots: Slots, loss: Loss, replay: Replay
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient (B, 3, S, S) and value (B,) of the loss at the current points, and the logits
    (B, C) that decide, from one forward."""

    def passes(points: Tensor, labels: Tensor, classes: Tensor) -> tuple[Tensor, ...]:
        point = points.detach().requires_grad_()
        features = classifier.features(point)
        losses = loss(classifier.attacker_logits(features).float(), labels, classes)
        (gradient,) = torch.autograd.grad(losses.sum(), point)
        with torch.no_grad():
            return gradient, losses.detach(), classifier.logits(features)

    state = slots.state
    gradient, losses, logits = replay(passes, state["point"], slots.labels, state["target"])
    return gradient, losses, logits

"""Fixed-step ascent for evaluation: PGD and its relatives, judged at every iterate.

What differs between them is the loss and the settings; one forward of the image encoder
serves the verdict and the loss.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.cuda_graph import Replay
from pipeline.common.bounds import Count, Momentum, Radius
from pipeline.common.params import Section
from pipeline.common.progress import counter
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.slots import Slots, State
from pipeline.evaluation.starts import random_starts
from pipeline.evaluation.verdicts import Recorder
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.zeroshot.pgd_step import ascend, update_momentum

Loss = Callable[[ZeroShotClassifier, Tensor, Tensor], Tensor]
"""(classifier, features (B, D), labels (B,)) -> scalar to ascend, a *sum* over the images."""


class FixedStepParams(Section):
    """Options of a fixed-step attack, in `evaluate.options.<attack>`."""

    steps: Count
    step_255: Radius
    """Step size in 1/255: of a pixel for l-infinity, of the whole image's length for l2."""
    restarts: Count
    """Runs per image, each from its own start; the next only if nothing was misclassified yet."""
    random_start: bool
    """False: the first run begins at the image itself."""
    momentum: Momentum
    """0: PGD; FARE's attack uses 0.9."""


def max_iterates(params: FixedStepParams) -> int:
    """Iterates of an image that is never misclassified, the starts included."""
    return params.restarts * (params.steps + 1)


def cross_entropy(classifier: ZeroShotClassifier, features: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy of (B, D) features, on the attacker's texts."""
    return F.cross_entropy(classifier.attacker_logits(features), labels, reduction="sum")


def run(
    classifier: ZeroShotClassifier, targets: Targets, params: FixedStepParams, settings: Settings
) -> Outcome:
    """PGD on the cross-entropy (Madry et al. 2018)."""
    return maximise(classifier, targets, params, settings, cross_entropy, "pgd")


def maximise(
    classifier: ZeroShotClassifier,
    targets: Targets,
    params: FixedStepParams,
    settings: Settings,
    loss: Loss,
    name: str,
) -> Outcome:
    """Ascend `loss` for every target, in the precision of the classifier's `features`."""

    def begin(images: Tensor, _: Tensor, numbers: np.ndarray, rounds: np.ndarray) -> State:
        start = random_starts(images, numbers, rounds, settings)
        if not params.random_start:
            drawn = (rounds > 0) | np.isin(numbers, list(settings.starts or ()))
            start = start * torch.from_numpy(drawn).to(start.device).view(-1, 1, 1, 1)
        return {"perturbation": start, "velocity": torch.zeros_like(images)}

    slots, recorder = Slots(targets, settings, begin), Recorder(classifier, targets, settings)
    replay = Replay()
    with counter(name, len(targets.labels), "image") as bar:
        while slots.refill():
            gradient, logits = forward(classifier, slots, loss, replay)
            recorder.zero_gradients(slots, gradient)
            over = slots.step == params.steps
            final = over & (slots.round == params.restarts - 1)
            leaving = recorder.record_iterate(slots, slots.state["perturbation"], logits, final)
            _step(slots, gradient, params, settings)
            slots.next_round(over & ~final & ~leaving)
            bar.update(slots.advance(leaving))
    return recorder.outcome


def forward(
    classifier: ZeroShotClassifier, slots: Slots, loss: Loss, replay: Replay
) -> tuple[Tensor, Tensor]:
    """Gradient of the loss for the current perturbations, and the logits that decide."""

    def passes(images: Tensor, perturbation: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        moved = perturbation.detach().requires_grad_()
        features = classifier.features(images + moved)
        (gradient,) = torch.autograd.grad(loss(classifier, features, labels), moved)
        with torch.no_grad():
            return gradient, classifier.logits(features)

    gradient, logits = replay(passes, slots.images, slots.state["perturbation"], slots.labels)
    return gradient, logits


def _step(slots: Slots, gradient: Tensor, params: FixedStepParams, settings: Settings) -> None:
    state = slots.state
    velocity = update_momentum(state["velocity"], gradient, params.momentum, settings.norm)
    slots.state = {
        "perturbation": ascend(
            slots.images,
            state["perturbation"],
            velocity,
            params.step_255 / 255,
            settings.epsilon,
            settings.norm,
        ),
        "velocity": velocity,
    }

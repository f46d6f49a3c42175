"""AutoAttack through `pyautoattack`, the authors' code packaged (Croce & Hein 2020).

The library sees one function, pixels (B, 3, S, S) in [0, 1] -> logits (B, C) of the texts that
the attacker sees. It returns neither the iterate that was misclassified nor the gradient, returns
the clean image where no iterate was, and does not attack images that its function gets wrong. It
draws its starts (and all of Square) per batch of the images still right, so that an image's verdict
depends on the batch size and on the other images; with the same seed, images and batch size it
repeats itself. Every image it returns is checked and classified once more.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.common.progress import counter
from pipeline.evaluation.finite_margins import check_finite_margins
from pipeline.evaluation.interface import Outcome, Settings, Targets, empty_outcome
from pipeline.evaluation.verdicts import verdict, verified_logits
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

CLASSES_NEEDED = {"apgd-dlr": 3, "apgd-t": 4}
TITLES = {"apgd-dlr": "APGD-DLR", "apgd-t": "APGD-T"}
TARGET_CLASSES = 9  # of APGD-T and FAB-T, as published
# The library wants its images as one float32 tensor and copies it: 1.2 GB for 1,000 of 224 x 224
# pixels, 12 GB for 10,000. More per call would only save a few part-filled batches.
IMAGES_AT_ONCE = 1000
# what the library warns about in an evaluation, by a phrase of its warning
WARNINGS = {
    "randomized defense": "two forward passes of the same images differ",
    "dynamic defense": "the model computes gradients in its forward",
    "probability distribution": "the outputs look like probabilities",
    "zero gradient": "some images have a zero gradient",
    "Square Attack has decreased": "Square fools what the gradient attacks do not",
}


class Params(Section):
    """`evaluate.options` of the library's attacks: nothing to choose."""


def max_iterates(_: Params) -> None:
    """None: the library returns one image and does not tell its iterates."""


def images_per_call(batch_size: int) -> int:
    """How many images one call of the library gets: whole batches, or every call would end with a
    part-filled one."""
    return max(1, IMAGES_AT_ONCE // batch_size) * batch_size


def run(
    classifier: ZeroShotClassifier,
    targets: Targets,
    settings: Settings,
    attacks: Sequence[str],
    name: str,
) -> Outcome:
    """Run the library's `attacks`, each on what the ones before it left; see `Outcome`, whose
    fooled_at is 0 for every misclassified image here and whose zero_gradient is NaN.

    Raises:
        UserError: the library is not installed, or the attacker's texts are not the classifier's:
            it would stop at the first image that the attacker's texts get wrong, a weaker attack
            than its name says.
        RuntimeError: it returned an image outside the ball or outside [0, 1].
    """
    if not torch.equal(classifier.attacker_features, classifier.class_features):
        raise UserError(
            f"params.yaml: evaluate.attacker: {name} needs the classifier's own texts (same); use "
            "apgd_ce, apgd_dlr and apgd_t with other ones"
        )
    chosen, note = _applicable_attacks(attacks, len(classifier.attacker_features))
    if classifier.ascended is not None:
        note.append("attack in float32, whatever evaluate.precision")
    adversary = _make_adversary(classifier, chosen, settings)
    outcome, total = empty_outcome(targets, settings), len(targets.labels)
    chunk = images_per_call(settings.batch_size)
    with (
        _contain_side_effects(classifier, settings) as warned,
        counter(name, total, "image") as bar,
    ):
        for first in range(0, total, chunk):
            rows = np.arange(first, min(first + chunk, total))
            images, labels = targets.read(rows, torch.device("cpu"))
            adversarial, _ = adversary.run_standard_evaluation(
                images, labels, batch_size=settings.batch_size
            )
            for batch in torch.arange(len(rows)).split(settings.batch_size):
                part = images[batch], adversarial[batch], labels[batch]
                _record_verdicts(classifier, outcome, rows[batch.numpy()], part, settings)
            bar.update(len(rows))
    check_finite_margins(outcome.margin, targets.numbers, classifier.where)
    return outcome._replace(note="; ".join([*note, *_warning_notes(warned)]))


class _Attacked(nn.Module):
    """What the library attacks: pixels (B, 3, S, S) in [0, 1] -> float32 logits (B, C), computed
    in float32 whatever `evaluate.precision`: it stops attacking an image as soon as these
    logits get it wrong."""

    def __init__(self, classifier: ZeroShotClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.attacker_logits(self.classifier.judged_features(images)).float()


def _applicable_attacks(attacks: Sequence[str], classes: int) -> tuple[list[str], list[str]]:
    """The attacks that are defined for so many classes, and a note on each of the others."""
    out = [a for a in attacks if classes < CLASSES_NEEDED.get(a, 2)]
    note = [f"{classes} classes: {TITLES[a]} left out, it needs {CLASSES_NEEDED[a]}" for a in out]
    return [a for a in attacks if a not in out], note


def _make_adversary(classifier: ZeroShotClassifier, attacks: list[str], settings: Settings) -> Any:
    try:
        from pyautoattack import AutoAttack
    except ImportError as error:
        raise UserError(
            f"AutoAttack needs pyautoattack ({error}); install it with "
            "`pip install pyautoattack==0.2.0`"
        ) from None
    adversary = AutoAttack(
        _Attacked(classifier),
        norm="Linf" if settings.norm == "linf" else "L2",
        eps=settings.epsilon,
        seed=settings.seed,
        device=settings.device,
        version="standard",  # 1 restart; "custom" would silently mean 5
    )
    adversary.verbose = False
    adversary.attacks_to_run = attacks
    count = min(TARGET_CLASSES, len(classifier.attacker_features) - 1)
    adversary.apgd_targeted.n_target_classes = adversary.fab.n_target_classes = count
    return adversary


@contextmanager
def _contain_side_effects(
    classifier: ZeroShotClassifier, settings: Settings
) -> Iterator[list[str]]:
    """Undo the library's side effects: it reseeds torch's global generators, ends any trace
    (debugger, coverage), leaves gradients in weights, and logs; its warnings are collected."""
    warned: list[str] = []
    handler, logger = logging.Handler(logging.WARNING), logging.getLogger("auto-attack")
    handler.emit = lambda record: warned.append(record.getMessage())  # type: ignore[method-assign]
    trainable = [p for p in classifier.parameters() if p.requires_grad]
    trace, propagate = sys.gettrace(), logger.propagate
    devices = [settings.device] if settings.device.type == "cuda" else []
    logger.addHandler(handler)
    logger.propagate = False
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        with torch.random.fork_rng(devices):
            yield warned
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        sys.settrace(trace)
        for parameter in trainable:
            parameter.requires_grad_(True)


def _warning_notes(warned: list[str]) -> list[str]:
    """Notes on the kinds of warning that came, each once."""
    return [
        f"the library warns: {meaning}"
        for phrase, meaning in WARNINGS.items()
        if any(phrase in message for message in warned)
    ]


def _record_verdicts(
    classifier: ZeroShotClassifier,
    outcome: Outcome,
    rows: np.ndarray,
    part: tuple[Tensor, Tensor, Tensor],
    settings: Settings,
) -> None:
    """Record the verdicts on a batch: clean images, adversarial images, labels."""
    images, adversarial, labels = (values.to(settings.device) for values in part)
    perturbation = adversarial - images
    logits = verified_logits(classifier, images, perturbation, settings)
    judged = verdict(logits, labels)
    outcome.fooled_at[rows] = np.where(judged.misclassified, 0, -1)
    outcome.prediction[rows] = judged.prediction
    outcome.margin[rows] = judged.margin
    outcome.confidence[rows] = judged.confidence
    kept = np.isin(settings.examples, rows)
    chosen = torch.from_numpy(settings.examples[kept] - rows[0])
    outcome.perturbations[kept] = perturbation.cpu()[chosen].numpy()

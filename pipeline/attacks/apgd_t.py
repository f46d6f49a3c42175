"""APGD-T: APGD on the targeted difference of logits ratio (Croce & Hein 2020), one run per
target class; the second attack of AutoAttack.

The targets are the classes that the clean image's logits, of the texts that the attacker sees,
rank highest after the label. With fewer than 4 classes the loss is not defined, and the margin
to the target takes its place.
"""

import torch
from torch import Tensor

from pipeline.common.bounds import Count
from pipeline.common.params import Section
from pipeline.evaluation import apgd
from pipeline.evaluation.apgd_losses import targeted_dlr, targeted_margin
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

TITLE = "APGD-T"


class Params(Section):
    """`evaluate.options.apgd_t`; as published: 100 steps, 9 targets."""

    steps: Count
    targets: Count
    """Target classes per image, at most one less than there are classes; the next only if no
    iterate was misclassified yet."""


def max_iterates(params: Params) -> int:
    """Iterates of an image that is never misclassified, the starts included."""
    return params.targets * (params.steps + 1)


def run(
    classifier: ZeroShotClassifier, targets: Targets, params: Params, settings: Settings
) -> Outcome:
    """Attack every target; see `pipeline.evaluation.interface` for shapes."""

    def select_targets(images: Tensor, labels: Tensor, rounds: Tensor) -> Tensor:
        return target_classes(classifier, images, labels, rounds)

    classes = len(classifier.attacker_features)
    rounds = min(params.targets, classes - 1)
    plan = apgd.Plan("apgd_t", params.steps, rounds, targeted_dlr, select_targets)
    if rounds < params.targets:
        plan = plan._replace(note=f"{classes} classes: {rounds} targets each")
    if classes < 4:
        note = f"{classes} classes: margin loss, targeted DLR needs 4"
        plan = plan._replace(loss=targeted_margin, note=note)
    return apgd.run(classifier, targets, settings, plan)


@torch.no_grad()
def target_classes(
    classifier: ZeroShotClassifier, images: Tensor, labels: Tensor, rounds: Tensor
) -> Tensor:
    """(B,) the class ranked `rounds` (B,) among the classes that are not the label; 0 is the
    highest. Clean `images` (B, 3, S, S)."""
    logits = classifier.attacker_logits(classifier.features(images))
    ranked = logits.scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
    return ranked.gather(1, rounds[:, None])[:, 0]

"""Margin PGD, called "CW" in the robust-CLIP literature; not Carlini and Wagner's l2 attack.

Ascends -sum relu(z_y - max_{c != y} z_c + confidence), with Carlini and Wagner's (2017) margin
in place of the cross-entropy, by the steps of PGD. SAFT's and TGA-ZSR's releases use
confidence 50 and steps as large as epsilon, which jump between corners of the ball: choose a
smaller step for a strong attack.
"""

from torch import Tensor

from pipeline.common.bounds import Weight
from pipeline.evaluation import fixed_step
from pipeline.evaluation.interface import Outcome, Settings, Targets, margins
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

TITLE = "CW-Linf (margin PGD)"
LAST_ITERATE = True
max_iterates = fixed_step.max_iterates


class Params(fixed_step.FixedStepParams):
    """`evaluate.options.cw_linf`."""

    confidence: Weight
    """Margin beyond which a misclassification is not pushed further, in logits."""


def run(
    classifier: ZeroShotClassifier, targets: Targets, params: Params, settings: Settings
) -> Outcome:
    """Attack every target; see `pipeline.evaluation.interface` for shapes."""
    return fixed_step.maximise(
        classifier, targets, params, settings, loss(params.confidence), "cw_linf"
    )


def loss(confidence: float) -> fixed_step.Loss:
    """-relu(margin + confidence) of (B, D) features, sum over the images."""

    def ascended(classifier: ZeroShotClassifier, features: Tensor, labels: Tensor) -> Tensor:
        return -(margins(classifier.attacker_logits(features), labels) + confidence).relu().sum()

    return ascended

"""FGSM (Goodfellow et al. 2015): one step of the size of the ball, from the image itself.

Weak by design: what it leaves says nothing about robustness, but a model that withstands it
and falls to PGD is the usual sign of masked gradients.
"""

from pipeline.common.bounds import Count
from pipeline.common.params import Section
from pipeline.evaluation import fixed_step
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

TITLE = "FGSM"
LAST_ITERATE = True
loss = fixed_step.cross_entropy


class Params(Section):
    """`evaluate.options.fgsm`."""

    random_start: bool
    """True: from a random point of the ball (as in "fast" adversarial training)."""
    restarts: Count


def max_iterates(params: Params) -> int:
    """Start and end of every run."""
    return 2 * params.restarts


def run(
    classifier: ZeroShotClassifier, targets: Targets, params: Params, settings: Settings
) -> Outcome:
    """Attack every target; see `pipeline.evaluation.interface` for shapes."""
    steps = fixed_step.FixedStepParams(
        steps=1,
        step_255=255 * settings.epsilon,
        restarts=params.restarts,
        random_start=params.random_start,
        momentum=0.0,
    )
    return fixed_step.maximise(classifier, targets, steps, settings, loss, "fgsm")

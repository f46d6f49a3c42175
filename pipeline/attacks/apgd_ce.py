"""APGD on the cross-entropy: the first attack of AutoAttack (Croce & Hein 2020).

Ascends CE(z(x + p), y), z the logits of the texts that the attacker sees.
"""

from pipeline.evaluation import apgd
from pipeline.evaluation.apgd_losses import cross_entropy
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

TITLE = "APGD-CE"
Params, max_iterates = apgd.Params, apgd.max_iterates


def run(
    classifier: ZeroShotClassifier, targets: Targets, params: apgd.Params, settings: Settings
) -> Outcome:
    """Attack every target; see `pipeline.evaluation.interface` for shapes."""
    plan = apgd.Plan("apgd_ce", params.steps, params.restarts, cross_entropy)
    return apgd.run(classifier, targets, settings, plan)

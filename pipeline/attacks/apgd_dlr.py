"""APGD on the difference of logits ratio (Croce & Hein 2020): a loss that, unlike the
cross-entropy, does not fade where the model is sure of itself. Of the texts that the attacker
sees; for 2 classes, where it is not defined, the margin takes its place.
"""

from pipeline.evaluation import apgd
from pipeline.evaluation.apgd_losses import dlr, margin
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

TITLE = "APGD-DLR"
Params, max_iterates = apgd.Params, apgd.max_iterates


def run(
    classifier: ZeroShotClassifier, targets: Targets, params: apgd.Params, settings: Settings
) -> Outcome:
    """Attack every target; see `pipeline.evaluation.interface` for shapes."""
    classes = len(classifier.attacker_features)
    plan = apgd.Plan("apgd_dlr", params.steps, params.restarts, dlr)
    if classes < 3:
        plan = plan._replace(loss=margin, note=f"{classes} classes: margin loss, DLR needs 3")
    return apgd.run(classifier, targets, settings, plan)

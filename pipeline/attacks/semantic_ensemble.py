"""SAFT's own attack at evaluation: PGD against every text of the attacker's set at once.

Ascends the cross-entropy averaged over the K texts of a class (Zhang et al., TMLR 2026;
released attacks/pgd_attack.py): each caption slot is a classifier of its own, and neither
features nor logits are averaged. With a set of one text this is PGD.
"""

from torch import Tensor

from pipeline.evaluation import fixed_step
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.zeroshot.ensemble import ensemble_cross_entropy

TITLE = "Semantic ensemble PGD"
LAST_ITERATE = True
Params, max_iterates = fixed_step.FixedStepParams, fixed_step.max_iterates


def run(
    classifier: ZeroShotClassifier,
    targets: Targets,
    params: fixed_step.FixedStepParams,
    settings: Settings,
) -> Outcome:
    """Attack every target; see `pipeline.evaluation.interface` for shapes."""
    return fixed_step.maximise(classifier, targets, params, settings, loss, "semantic_ensemble")


def loss(classifier: ZeroShotClassifier, features: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (B, D) features, mean over the K texts, sum over the images."""
    return ensemble_cross_entropy(classifier.attacker_caption_logits(features), labels).sum()

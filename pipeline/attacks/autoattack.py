"""AutoAttack's standard version (Croce & Hein 2020), as RobustBench ranks by it.

APGD-CE, APGD-T with 9 targets, FAB-T with 9 targets, and Square with 5,000 queries, one restart
each and each on the images that those before it left, through the library `pyautoattack`
(`evaluation/autoattack_library.py`): the verdict on an image depends on the batch size and on
the other images, because the library draws its starts per batch.
"""

from pipeline.evaluation import autoattack_library
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

TITLE = "AutoAttack (standard)"
Params, max_iterates = autoattack_library.Params, autoattack_library.max_iterates
images_per_call = autoattack_library.images_per_call
# 100 of APGD-CE, 9 targets x 100 of APGD-T and of FAB-T; the 5,000 queries of Square are forwards
# alone, each the work of half a step
LIBRARY_STEPS = 100 + 900 + 900 + 2500


def run(
    classifier: ZeroShotClassifier,
    targets: Targets,
    _: autoattack_library.Params,
    settings: Settings,
) -> Outcome:
    """Attack every target; see `pipeline.evaluation.interface` for shapes. fooled_at is 0 or -1.

    Raises:
        UserError: the library is not installed.
    """
    attacks = ["apgd-ce", "apgd-t", "fab-t", "square"]
    return autoattack_library.run(classifier, targets, settings, attacks, "autoattack")

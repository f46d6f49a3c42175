"""The two attacks that SAFT and TGA-ZSR report as "AutoAttack": APGD-CE and untargeted
APGD-DLR, 100 steps and one restart each, without APGD-T, FAB-T and Square.

Through the library `pyautoattack` (`evaluation/autoattack_library.py`), for comparison with
published numbers: the verdict on an image depends on the batch size and on the other images,
because the library draws its starts per batch. `apgd_ce` and `apgd_dlr` are the same two attacks
without that. With 2 classes APGD-CE remains, as in SAFT's release for PCAM.
"""

from pipeline.evaluation import autoattack_library
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

TITLE = "AutoAttack short form (APGD-CE + APGD-DLR)"
Params, max_iterates = autoattack_library.Params, autoattack_library.max_iterates
images_per_call = autoattack_library.images_per_call
LIBRARY_STEPS = 100 + 100


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
    return autoattack_library.run(
        classifier, targets, settings, ["apgd-ce", "apgd-dlr"], "autoattack_ce_dlr"
    )

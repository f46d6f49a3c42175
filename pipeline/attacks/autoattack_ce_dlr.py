"""The two attacks that SAFT and TGA-ZSR report as "AutoAttack": APGD-CE and untargeted
APGD-DLR, 100 steps and one restart each, without APGD-T, FAB-T and Square.

Through the library `pyautoattack` (`pipeline.attacks._library`), for comparison with published
numbers: the verdict on an image depends on the batch size and on the other images, because the
library draws its starts per batch. `apgd_ce` and `apgd_dlr` are the same two attacks without
that. With 2 classes APGD-CE remains, as in SAFT's release for PCAM.
"""

from pipeline.attacks import Outcome, Settings, Targets, _library
from pipeline.victim import Victim

TITLE = "AutoAttack short form (APGD-CE + APGD-DLR)"
Params, budget = _library.Params, _library.budget
images_per_call = _library.images_per_call


def run(victim: Victim, targets: Targets, _: _library.Params, settings: Settings) -> Outcome:
    """Attack every target; see `pipeline.attacks` for shapes. fooled_at is 0 or -1.

    Raises:
        UserError: the library is not installed.
    """
    return _library.run(victim, targets, settings, ["apgd-ce", "apgd-dlr"], "autoattack_ce_dlr")

"""PGD on the cross-entropy (Madry et al. 2018), as SAFT and its baselines evaluate.

Ascends CE(z(x + p), y), z the logits of the texts that the attacker sees. SAFT's release uses
100 steps of 1/255 at epsilon = 1/255, one uniform start, and judges the last iterate
(attacks/pgd_attack.py); here every iterate is judged, in float32 and with a summed loss.
"""

from pipeline.attacks import Outcome, Settings, Targets
from pipeline.attacks import _ascent as ascent
from pipeline.victim import Victim

TITLE = "PGD"
LAST_ITERATE = True
loss = ascent.cross_entropy
Params, budget = ascent.Steps, ascent.budget


def run(victim: Victim, targets: Targets, params: ascent.Steps, settings: Settings) -> Outcome:
    """Attack every target; see `pipeline.attacks` for shapes."""
    return ascent.run(victim, targets, params, settings, loss, "pgd")

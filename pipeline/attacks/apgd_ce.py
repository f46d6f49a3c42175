"""APGD on the cross-entropy: the first attack of AutoAttack (Croce & Hein 2020).

Ascends CE(z(x + p), y), z the logits of the texts that the attacker sees.
"""

from pipeline.attacks import Outcome, Settings, Targets, _apgd
from pipeline.attacks._apgd_losses import cross_entropy
from pipeline.victim import Victim

TITLE = "APGD-CE"
Params, budget = _apgd.Params, _apgd.budget


def run(victim: Victim, targets: Targets, params: _apgd.Params, settings: Settings) -> Outcome:
    """Attack every target; see `pipeline.attacks` for shapes."""
    plan = _apgd.Plan("apgd_ce", params.steps, params.restarts, cross_entropy)
    return _apgd.run(victim, targets, settings, plan)

"""APGD on the cross-entropy: the first attack of AutoAttack (Croce & Hein 2020).

Ascends CE(z(x + p), y), z the logits of the texts that the attacker sees.
"""

from pydantic import Field

from pipeline.attacks import Outcome, Settings, Targets, _apgd
from pipeline.attacks._apgd_losses import cross_entropy
from pipeline.params import Section
from pipeline.victim import Victim

TITLE = "APGD-CE"


class Params(Section):
    """`evaluate.options.apgd_ce`; as published: 100 steps, 1 restart in AutoAttack's standard
    version and 5 in its custom one."""

    steps: int = Field(ge=1)
    restarts: int = Field(ge=1)
    """Runs per image, each from a start of its own; the next only if none has fooled yet."""


def budget(params: Params) -> int:
    """Iterates of an image that is never fooled, the starts included."""
    return params.restarts * (params.steps + 1)


def run(victim: Victim, targets: Targets, params: Params, settings: Settings) -> Outcome:
    """Attack every target; see `pipeline.attacks` for shapes."""
    plan = _apgd.Plan("apgd_ce", params.steps, params.restarts, cross_entropy)
    return _apgd.run(victim, targets, settings, plan)

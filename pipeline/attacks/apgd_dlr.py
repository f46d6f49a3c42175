"""APGD on the difference of logits ratio (Croce & Hein 2020): a loss that, unlike the
cross-entropy, does not fade where the model is sure of itself. Of the texts that the attacker
sees; for 2 classes, where it is not defined, the margin takes its place.
"""

from pydantic import Field

from pipeline.attacks import Outcome, Settings, Targets, _apgd
from pipeline.attacks._apgd_losses import dlr, margin
from pipeline.params import Section
from pipeline.victim import Victim

TITLE = "APGD-DLR"


class Params(Section):
    """`evaluate.options.apgd_dlr`; as published: 100 steps, 1 restart in AutoAttack's standard
    version and 5 in its custom one."""

    steps: int = Field(ge=1)
    restarts: int = Field(ge=1)
    """Runs per image, each from a start of its own; the next only if none has fooled yet."""


def budget(params: Params) -> int:
    """Iterates of an image that is never fooled, the starts included."""
    return params.restarts * (params.steps + 1)


def run(victim: Victim, targets: Targets, params: Params, settings: Settings) -> Outcome:
    """Attack every target; see `pipeline.attacks` for shapes."""
    classes = len(victim.attacker)
    plan = _apgd.Plan("apgd_dlr", params.steps, params.restarts, dlr)
    if classes < 3:
        plan = plan._replace(loss=margin, note=f"{classes} classes: margin loss, DLR needs 3")
    return _apgd.run(victim, targets, settings, plan)

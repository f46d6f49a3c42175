"""Radii that look like shares of the pixel range, where params.yaml counts in 1/255."""

from collections.abc import Iterator

from pipeline.common.errors import UserError
from pipeline.zeroshot.pgd_step import Norm
from saft.check.plan import Plan

# published radii in 1/255 are above these, as shares of the pixel range below: 4/255 is 0.0157,
# and a length of 0.5 is 127.5/255
SMALLEST: dict[Norm, float] = {"linf": 0.1, "l2": 4.0}


def warnings(plan: Plan) -> list[str]:
    """One line for each radius that is probably meant as a share: 0.0157 for 4."""
    return [
        f"warning: {plan.file}: {key}: {radius:g} means {radius:g}/255 and looks like a fraction; "
        f"if {radius:g} of the pixel range is meant, write {255 * radius:.4g}"
        for key, norm, radius in _radii(plan)
        if radius < SMALLEST[norm]
    ]


def _radii(plan: Plan) -> Iterator[tuple[str, Norm, float]]:
    """(key, norm, value in 1/255) of every radius of params.yaml that can be read."""
    if "evaluate" in plan.sound:
        norm = plan.evaluate.norm
        for radius in plan.evaluate.epsilons_255:
            yield "evaluate.epsilons_255", norm, radius
        for radius in plan.checks.epsilons_255:
            yield "evaluate.checks.epsilons_255", norm, radius
    if "finetune" not in plan.sound or not plan.trains:
        return
    try:
        trained = plan.recipe.attack
    except UserError:  # named among the problems
        return
    if trained is not None:
        yield "finetune.attack.epsilon_255", trained.norm, trained.epsilon_255

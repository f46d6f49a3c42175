"""The speeds that are aimed at on one H100, against what was measured."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.acceptance.context import CLASSES

Sections = Mapping[str, Mapping[str, Any]]
TRAINING, AGAINST_RELEASED, PGD, FALLING = 4000, 10, 190, 10 * 190
FINE_TUNING_IMAGES, FINE_TUNING_SECONDS = 10 * 100_000, 300
PGD_IMAGES, PGD_SECONDS = 10_000, 60
AT_ONCE = 0.05  # at most this share may withstand for "models that fall at once"


class Goal(NamedTuple):
    """measured: in `unit`, None if it was not; met: None where nothing was measured, where there
    is no target and in a tiny run; basis: which variant was measured, or what the number is
    derived from."""

    name: str
    target: str
    measured: float | None
    unit: str
    met: bool | None
    basis: str


class Best(NamedTuple):
    """The fastest variant of a section. measured: what was measured of it."""

    name: str
    rate: float
    measured: Mapping[str, Any]


def goals(sections: Sections) -> list[Goal]:
    """Every goal, measured or not. A missed one is no failed check."""
    training = fastest(sections, "training", "images_per_second")
    pgd = fastest(sections, "evaluation", "pgd_100_images_per_second")
    judged = [
        _at_least("training", TRAINING, "images/s", training and training.rate, training),
        _ratio(sections, training),
        _at_least("PGD-100, float32 verdicts, nothing dropped", PGD, "images/s",
                  pgd and pgd.rate, pgd),
        _falling(sections),
        _derived("fine-tuning, 10 x 100,000 images", FINE_TUNING_SECONDS, FINE_TUNING_IMAGES,
                 training and _whole_loop(training), "images/s"),
        _derived("PGD-100, 10,000 images, nothing dropped", PGD_SECONDS, PGD_IMAGES, pgd,
                 "PGD-100 images/s"),
        _share(training),
    ]  # fmt: skip
    tiny = _result(sections, "environment").get("tiny")
    return [goal._replace(met=None) for goal in judged] if tiny else judged


def fastest(sections: Sections, section: str, key: str) -> Best | None:
    """The variant of a section with the largest `key`, None if there is none."""
    variants = _result(sections, section).get("variants", {})
    rated = [
        Best(name, measured[key], measured)
        for name, measured in variants.items()
        if key in measured
    ]
    return max(rated, key=lambda best: best.rate, default=None)


def as_text(goals: list[Goal]) -> str:
    """A table for a terminal."""
    lines = [f"{'goal':44}{'target':>20}{'measured':>12}  {'met':14}basis"]
    for goal in goals:
        measured = "-" if goal.measured is None else f"{goal.measured:.4g}"
        lines.append(
            f"{goal.name:44}{goal.target:>20}{measured:>12}  {verdict(goal):14}{goal.basis}"
        )
    return "\n".join(lines)


def verdict(goal: Goal) -> str:
    """yes, no, not measured, or "-" for a number without a target."""
    if goal.measured is None:
        return "not measured"
    return "-" if goal.met is None else "yes" if goal.met else "no"


def _result(sections: Sections, name: str) -> Mapping[str, Any]:
    return sections.get(name, {}).get("result", {})


def _at_least(
    name: str, target: float, unit: str, measured: float | None, best: Best | None
) -> Goal:
    met = None if measured is None else measured >= target
    basis = best.name if best else ""
    return Goal(name, f">= {target:,} {unit}", measured, unit, met, basis)


def _ratio(sections: Sections, training: Best | None) -> Goal:
    """The fastest training variant against the release with its own float16 outer step. With
    fewer classes than the goal is for, the ratio is too small: enough is enough, less is not
    judged."""
    compared = _result(sections, "against_released")
    released = compared.get("variants", {}).get("released_amp", {}).get("images_per_second")
    name = "training against the release"
    if not training or not released:
        return _at_least(name, AGAINST_RELEASED, "x", None, None)
    classes = compared["classes"]
    told = f"against released_amp, batch {compared['batch']}, {classes} classes"
    best = training._replace(name=f"{training.name} {told}")
    goal = _at_least(name, AGAINST_RELEASED, "x", training.rate / released, best)
    return goal if goal.met or classes >= CLASSES else goal._replace(met=None)


def _falling(sections: Sections) -> Goal:
    """Judged only if the images did fall at once."""
    name = "PGD-100, a model that falls at once"
    variants = _result(sections, "evaluation").get("variants", {})
    rated = [(e["falling"], label) for label, e in variants.items() if "falling" in e]
    if not rated:
        return _at_least(name, FALLING, "images/s", None, None)
    measured, label = max(rated, key=lambda pair: pair[0]["images_per_second"])
    goal = _at_least(name, FALLING, "images/s", measured["images_per_second"], None)
    basis = f"{label}, {measured['robust_share']:.1%} withstood"
    judged = goal.met if measured["robust_share"] <= AT_ONCE else None
    return goal._replace(basis=basis, met=judged)


def _derived(name: str, seconds: float, images: int, best: Best | None, source: str) -> Goal:
    measured = images / best.rate if best else None
    met = None if measured is None else measured <= seconds
    basis = f"derived from {source} of {best.name}" if best else ""
    return Goal(name, f"<= {seconds} s", measured, "s", met, basis)


def _whole_loop(training: Best) -> Best:
    """The same variant with reading, logging and all, where that was measured."""
    if "loop" not in training.measured:
        return training
    rate = training.measured["loop"]["images_per_second"]
    return training._replace(name=f"{training.name}, whole loop", rate=rate)


def _share(training: Best | None) -> Goal:
    """No goal of its own: how much of the card's bf16 product speed the fastest step reaches."""
    share = training and training.measured.get("share_of_bf16_product")
    basis = training.name if training else ""
    name = "training, share of measured bf16 product speed"
    return Goal(name, "no target", share, "share", None, basis)

"""Can the evaluation be trusted? The report's verdicts on measurements a sound attack passes.

After Carlini et al. 2019, "On evaluating adversarial robustness", and Athalye et al. 2018,
"Obfuscated gradients give a false sense of security". A check that fails does not say that a
number is wrong: it says that somebody must look before it is trusted.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from pipeline.common.params import Section
from pipeline.results.accuracy import accuracies
from pipeline.results.evaluated import EvaluatedSet, model_title

UNDEFENDED = 0.05  # accuracy under attack that an undefended model may keep
GAP = 0.03  # PGD may leave this much more than APGD
ALLOWED = 0.01  # share of images, but at least one image, that rounding may move
DEAD = 0.5  # share of a gradient's entries that may be exactly zero
Count = Annotated[tuple[float, int], Field(strict=False)]  # (epsilon or steps, images right)
NOT_DEFENDED = "false"  # what about.json says of a model that nobody hardened against attacks


class PrecisionCounts(Section):
    """One model under the same attack in `evaluate.precision` and in float32."""

    name: str
    right: int
    right_in_float32: int
    changed: int


class CheckMeasurements(Section):
    """data/checks/<set>/<model>.json; see `pipeline.soundness.measure.measure`."""

    dataset: str
    model: str
    epsilon_255: float
    images: int = Field(ge=1)
    precision: PrecisionCounts | None
    curve: list[Count] = Field(min_length=2)
    large: Count
    steps: list[Count] = Field(min_length=2)


class Check(NamedTuple):
    """passed: None where it could not be judged; measured: what was measured; meaning: what it
    means when it fails."""

    name: str
    where: str
    passed: bool | None
    measured: str
    meaning: str


def run_checks(
    sets: Iterable[EvaluatedSet],
    measurements: Iterable[CheckMeasurements],
    defended: Mapping[str, str],
) -> list[Check]:
    """All checks, those over evaluated sets first.

    Args:
        defended: by model, `defended` of its about.json: "true", "false" or "unknown".
    """
    checks = [check_control(defended)]
    checks += [check for evaluated in sets for check in _of_set(evaluated, defended)]
    return checks + [check for measured in measurements for check in _of_measured(measured)]


def _of_set(evaluated: EvaluatedSet, defended: Mapping[str, str]) -> Iterator[Check]:
    """Of one data set: the undefended models, then the other checks of every model."""
    accuracy_of = accuracies(evaluated)
    for model in evaluated.models:
        if defended[model] == NOT_DEFENDED:
            yield check_undefended(evaluated, model, accuracy_of[model])
    for model in evaluated.models:
        yield check_attack_gap(_where(evaluated, model), accuracy_of[model])
    for model in evaluated.models:
        yield check_zero_gradients(evaluated, model)


def _of_measured(counts: CheckMeasurements) -> Iterator[Check]:
    where = f"{counts.dataset}, {model_title(counts.model)}"
    yield check_epsilon_curve(where, counts)
    yield check_large_epsilon(where, counts)
    yield check_more_steps(where, counts)
    if counts.precision is not None:
        yield check_precision(where, counts.precision, counts.images)


def check_control(defended: Mapping[str, str]) -> Check:
    """An undefended model was attacked alike: without one, a weak attack would not show."""
    controls = [model_title(model) for model, said in defended.items() if said == NOT_DEFENDED]
    return Check(
        "there is a control",
        "the evaluation",
        True if controls else None,
        f"undefended, under the same attacks: {', '.join(controls)}"
        if controls
        else "no undefended model under the same attack: a weak attack would not show",
        "nobody knows whether these attacks bring down a model that nothing defends: add one "
        "(defended: false in section models) to evaluate.models",
    )


def check_undefended(
    evaluated: EvaluatedSet, model: str, accuracy_of: Mapping[str, float]
) -> Check:
    """An undefended model is near 0 under PGD (or the first attack, if PGD was not run)."""
    attack = "pgd" if "pgd" in accuracy_of else evaluated.about.attack
    # a model this weak has nothing to lose: that it falls shows nothing about the attack
    weak_model = accuracy_of["clean"] <= 2 * UNDEFENDED
    return Check(
        f"the undefended model falls (at most {UNDEFENDED:.0%} left)",
        _where(evaluated, model),
        None
        if weak_model and accuracy_of[attack] <= UNDEFENDED
        else accuracy_of[attack] <= UNDEFENDED,
        f"{accuracy_of[attack]:.1%} right under {attack}, {accuracy_of['clean']:.1%} clean",
        "an attack that leaves an undefended CLIP standing is too weak (too few steps, masked "
        "gradients, half precision) and flatters every model; or epsilon is so small for these "
        "images and this model that little can be learned from it: see the curve over epsilon",
    )


def check_attack_gap(where: str, accuracy_of: Mapping[str, float]) -> Check:
    """Fixed-step PGD and the strongest APGD that was run leave about the same: at most GAP more
    by PGD, and an APGD that leaves more than that beyond PGD was held back by something."""
    adaptive = [key for key in accuracy_of if key.startswith(("apgd", "autoattack"))]
    comparable = "pgd" in accuracy_of and bool(adaptive)
    strongest = min(adaptive, key=lambda key: accuracy_of[key]) if comparable else ""
    more = accuracy_of["pgd"] - accuracy_of[strongest] if comparable else 0.0
    return Check(
        f"PGD and APGD agree (gap at most {100 * GAP:g} points)",
        where,
        abs(more) <= GAP if comparable else None,
        f"{100 * more:+.1f} points against {strongest}"
        if comparable
        else "needs pgd and an apgd_* attack in evaluate.attacks",
        "PGD leaves more: its step size or number of steps does not suit this model, and its "
        "number is no measure of robustness; APGD leaves more: it was held back, for instance by "
        "an attacker with other texts than the classifier's. Read the worst case instead",
    )


def check_zero_gradients(evaluated: EvaluatedSet, model: str) -> Check:
    """Hardly any image's gradient is mostly exactly zero at the start."""
    shares = [
        result.predictions[model]["zero_gradient"].drop_null() for result in evaluated.attacks
    ]
    values = np.concatenate([share.to_numpy() for share in shares]) if shares else np.zeros(0)
    dead = int((values > DEAD).sum())
    return Check(
        "gradients are alive",
        _where(evaluated, model),
        dead <= _slack(len(values)) if len(values) else None,
        f"{dead} of {len(values)} starts with more than {DEAD:.0%} zero entries; "
        f"mean {values.mean():.1%}"
        if len(values)
        else "no attack tells",
        "a gradient attack cannot move: the loss is saturated (its logits underflow) or the "
        "model masks its gradients; use apgd_dlr, apgd_t or autoattack, in float32",
    )


def check_epsilon_curve(where: str, counts: CheckMeasurements) -> Check:
    """Accuracy never rises with epsilon, and is lower at the end than without an attack."""
    right = [count for _, count in counts.curve]
    points = ", ".join(f"{epsilon:g}: {count}" for epsilon, count in counts.curve)
    fell = right[-1] < right[0] or not right[0]
    return Check(
        "accuracy falls with epsilon",
        where,
        _never_rises(right, counts.images) and fell,
        f"right of {counts.images} at epsilon × 255 = {points}",
        "a larger ball contains the smaller one: the attack loses its way in the larger one "
        "(step size, clipping), finds nothing at all (masked gradients), or the images are too "
        "few to tell",
    )


def check_large_epsilon(where: str, counts: CheckMeasurements) -> Check:
    """No classifier is right where the ball holds images of every class."""
    epsilon, right = counts.large
    return Check(
        "a large epsilon drives accuracy to 0",
        where,
        right <= _slack(counts.images),
        f"{right} of {counts.images} right at {epsilon:g}/255",
        "no model can withstand it: what is left is what the attack fails to find",
    )


def check_more_steps(where: str, counts: CheckMeasurements) -> Check:
    """A longer attack never finds fewer errors."""
    right = [count for _, count in counts.steps]
    points = ", ".join(f"{steps:g}: {count}" for steps, count in counts.steps)
    return Check(
        "more steps never help the defender",
        where,
        _never_rises(right, counts.images),
        f"right of {counts.images} after steps {points}",
        "the attack does not converge: the step size does not suit its number of steps",
    )


def check_precision(where: str, counts: PrecisionCounts, images: int) -> Check:
    """An attack in a lower precision finds what the same attack finds in float32."""
    more = counts.right - counts.right_in_float32
    return Check(
        f"{counts.name} attacks as well as float32",
        where,
        more <= _slack(images),
        f"{counts.right} of {images} right, {counts.right_in_float32} in float32; "
        f"{counts.changed} verdicts differ",
        "verdicts are float32's, so no error is made up; but gradients in the lower precision miss "
        "some, and the model looks more robust than it is; set evaluate.precision to float32",
    )


def _slack(images: int) -> int:
    return max(1, int(ALLOWED * images))


def _never_rises(counts: list[int], images: int) -> bool:
    """No count is above any earlier one by more than rounding: many small rises add up."""
    return all(
        later <= min(counts[: index + 1]) + _slack(images) for index, later in enumerate(counts[1:])
    )


def _where(evaluated: EvaluatedSet, model: str) -> str:
    about = evaluated.about
    epsilon = f"ε = {about.epsilon_255:g}/255"
    return f"{about.dataset}, {about.texts.name}, {epsilon}, {model_title(model)}"

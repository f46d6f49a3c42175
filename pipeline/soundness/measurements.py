"""What stages.check measured, and what a sound attack must show there.

One file of data/checks/ is the measurements of one model on one image set.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from pipeline.common.bounds import MOST, CountOrZero, Radius
from pipeline.common.bounds import Count as Images
from pipeline.common.errors import UserError
from pipeline.common.finite import AGAIN
from pipeline.common.params import PARAMS_FILE, Section, validate
from pipeline.common.tables import read_json
from pipeline.results.evaluated import model_title
from pipeline.results.files import checks_file

ALLOWED = 0.01  # share of images, but at least one image, that rounding may move
Measured = Annotated[float, Field(ge=0, le=MOST)]
# (epsilon or steps, images right)
Count = Annotated[tuple[Measured, CountOrZero], Field(strict=False)]


class PrecisionCounts(Section):
    """One model under the same attack in `evaluate.precision` and in float32."""

    name: str
    right: CountOrZero
    right_in_float32: CountOrZero
    changed: CountOrZero


class CheckSettings(Section, extra="ignore"):
    """What `evaluate.checks` of params.yaml and every file of data/checks/ have to say alike."""

    images: int
    epsilons_255: list[float]
    large_epsilon_255: float
    steps: int


class CheckMeasurements(Section):
    """data/checks/<set>/<model>.json; see `pipeline.soundness.measure.measure`."""

    dataset: str
    model: str
    epsilon_255: Radius
    images: Images
    precision: PrecisionCounts | None
    curve: list[Count] = Field(min_length=2)
    large: Count
    steps: list[Count] = Field(min_length=2)


def read_measured(
    dataset: str, model: str, epsilon_255: float, settings: CheckSettings, evaluated: int = 0
) -> CheckMeasurements:
    """The file of a model on an image set.

    Args:
        evaluated: images of the set that the model was evaluated on: so many the set has.

    Raises:
        UserError: it is missing, of another set, model or epsilon, not what `settings` ask for, or
            counts more images than there are.
    """
    path = checks_file(dataset, model)
    counts = validate(read_json(path), CheckMeasurements, str(path))
    named = {"dataset": dataset, "model": model, "epsilon_255": epsilon_255}
    steps = settings.steps
    points = {
        "images": min(settings.images, max(counts.images, evaluated)),
        "curve": [0.0, *sorted(settings.epsilons_255)],
        "large": settings.large_epsilon_255,
        "steps": [steps // 4, steps // 2, steps, 2 * steps],
    }
    measured = {
        "images": counts.images,
        "curve": [epsilon for epsilon, _ in counts.curve],
        "large": counts.large[0],
        "steps": [number for number, _ in counts.steps],
    }
    for key, value in named.items():
        if getattr(counts, key) != value:
            raise UserError(f"{path}: {key} is {getattr(counts, key)}, not {value}; {AGAIN}")
    for key, value in points.items():
        if measured[key] != value:
            raise UserError(
                f"{path}: {key} is {measured[key]}, but {value} by {PARAMS_FILE}: "
                f"evaluate.checks; {AGAIN}"
            )
    _check_counts(counts, path)
    return counts


def _check_counts(counts: CheckMeasurements, path: Path) -> None:
    """Raise UserError if a count of images is none of 0..images. (That an attack leaves more of
    them right than a weaker one is for the checks to judge.)"""
    right = [count for _, count in (*counts.curve, counts.large, *counts.steps)]
    if counts.precision is not None:
        precision = counts.precision
        right += [precision.right, precision.right_in_float32, precision.changed]
    for count in (min(right), max(right)):
        if not 0 <= count <= counts.images:
            raise UserError(f"{path}: {count} of {counts.images} images are right; {AGAIN}")


class Check(NamedTuple):
    """passed: None where it could not be judged; measured: what was measured; meaning: what it
    means when it fails."""

    name: str
    where: str
    passed: bool | None
    measured: str
    meaning: str


def checks_of_measurements(counts: CheckMeasurements) -> Iterator[Check]:
    """The checks of one file."""
    where = f"{counts.dataset}, {model_title(counts.model)}"
    yield check_epsilon_curve(where, counts)
    yield check_large_epsilon(where, counts)
    yield check_more_steps(where, counts)
    if counts.precision is not None:
        yield check_precision(where, counts.precision, counts.images)


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
        right <= slack(counts.images),
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
        more <= slack(images),
        f"{counts.right} of {images} right, {counts.right_in_float32} in float32; "
        f"{counts.changed} verdicts differ",
        "verdicts are float32's, so no error is made up; but gradients in the lower precision miss "
        "some, and the model looks more robust than it is; set evaluate.precision to float32",
    )


def slack(images: int) -> int:
    """How many of `images` may differ by rounding alone."""
    return max(1, int(ALLOWED * images))


def _never_rises(counts: list[int], images: int) -> bool:
    """No count is above any earlier one by more than rounding: many small rises add up."""
    return all(
        later <= min(counts[: index + 1]) + slack(images) for index, later in enumerate(counts[1:])
    )

"""Can the evaluation be trusted? Measurements that a sound attack cannot fail.

PGD on a few images over a curve of epsilons, at an epsilon that no classifier withstands,
and with more and more steps (Carlini et al. 2019, "On evaluating adversarial robustness",
sections 3 and 4). `pipeline.soundness.measurements` says what they mean.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from pydantic import Field

from pipeline.clip.precision import precision_name
from pipeline.common.bounds import MOST, Count, Name, Radius
from pipeline.common.params import Section
from pipeline.cost.meter import Meter
from pipeline.evaluation import fixed_step, session
from pipeline.evaluation.clean_predictions import clean_predictions
from pipeline.evaluation.devices import Worker, distribute
from pipeline.evaluation.interface import Run, Settings, Targets
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.stateful import check_deterministic
from pipeline.evaluation.worker import Subject
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

OVERSHOOT = 2.5  # steps * step size in units of epsilon: enough to cross the ball from any start


class ChecksParams(Section):
    """`evaluate.checks` of params.yaml, where every key is explained."""

    datasets: list[Name]
    images: Count
    epsilons_255: list[Radius] = Field(min_length=1)
    large_epsilon_255: Radius
    steps: int = Field(ge=4, le=MOST)


def measure_model(
    checks: ChecksParams,
    inputs: session.Inputs,
    meter: Meter,
    team: Sequence[Worker],
) -> dict[str, Any]:
    """`measure` for the model, on those of the images that it classifies rightly.

    Args:
        meter: counts, unless a team attacks.
    """
    params, device = inputs.params, inputs.device
    load = session.loader(inputs, params.precision, params.compile)
    classifier = load(device)
    check_deterministic(classifier, inputs.targets, inputs.model, device)
    if not team:
        session.watch(meter, classifier, params.precision)
    subjects = [Subject(way, inputs.images.name) for way in (load, session.loader(inputs))]
    runs = [distribute(team, fixed_step, subject) for subject in subjects]
    targets = inputs.targets
    clean = clean_predictions(classifier, targets, params.batch_size, device)
    right = np.flatnonzero(clean.prediction == targets.labels)
    right_targets = Targets(targets.pixels, targets.numbers[right], targets.labels[right])
    counts = measure(classifier, right_targets, checks, params, inputs.epsilon_255, device, *runs)
    return {"images": len(targets.labels)} | counts


def measure(
    classifier: ZeroShotClassifier,
    targets: Targets,
    checks: ChecksParams,
    params: EvaluateParams,
    epsilon_255: float,
    device: torch.device,
    run: Run = fixed_step.run,
    run_in_float32: Run = fixed_step.run,
) -> dict[str, Any]:
    """Counts of images that stay right, for metrics of one model.

    Args:
        epsilon_255: radius of the ladder of steps, in 1/255.
        run, run_in_float32: fixed-step PGD, or the same over several devices; on `classifier`
            and on its copy in float32.

    Returns:
        curve: [epsilon in 1/255, images right at every iterate], from 0 (clean) upwards;
        large: the same at `large_epsilon_255`; steps: [steps, images right at every iterate]
        at `epsilon_255`, the step size of a run follows from its steps; precision:
        None where attacks are float32, else {name, right, right_in_float32, changed}: images
        right at every iterate of the attack in `evaluate.precision` and of the same attack in
        float32, and the images whose verdicts differ.
    """

    @cache  # the curve, the ladder of steps and the two precisions share points
    def robust(radius_255: float, steps: int, in_float32: bool = False) -> np.ndarray:
        attack, attacked = (
            (run_in_float32, classifier.in_float32()) if in_float32 else (run, classifier)
        )
        band = 0.0 if in_float32 else params.band
        settings = _settings(targets, params, radius_255, device)._replace(guard_band=band)
        outcome = attack(attacked, targets, _crossing_the_ball(radius_255, steps), settings)
        return outcome.fooled_at < 0

    def robust_count(radius_255: float, steps: int) -> int:
        return int(robust(radius_255, steps).sum())

    steps, ladder = checks.steps, [checks.steps // 4, checks.steps // 2, checks.steps]
    clean = [0.0, len(targets.labels)]
    low = partial(robust, epsilon_255, steps)
    return {
        "precision": _compared(params, low(), low(in_float32=True)) if params.band else None,
        "curve": [clean, *([e, robust_count(e, steps)] for e in sorted(checks.epsilons_255))],
        "large": [checks.large_epsilon_255, robust_count(checks.large_epsilon_255, steps)],
        "steps": [[n, robust_count(epsilon_255, n)] for n in [*ladder, 2 * steps]],
    }


def _crossing_the_ball(epsilon_255: float, steps: int) -> fixed_step.FixedStepParams:
    """So many steps, together OVERSHOOT times as long as the radius."""
    return fixed_step.FixedStepParams(
        steps=steps,
        step_255=OVERSHOOT * epsilon_255 / steps,
        restarts=1,
        random_start=True,
        momentum=0.0,
    )


def _settings(
    targets: Targets, params: EvaluateParams, epsilon_255: float, device: torch.device
) -> Settings:
    """Of an attack that drops every misclassified image and keeps no example."""
    return Settings(
        norm=params.norm,
        epsilon=epsilon_255 / 255,
        batch_size=params.batch_size,
        seed=params.seed,
        follow=np.zeros(len(targets.labels), dtype=bool),
        examples=np.zeros(0, dtype=np.int64),
        device=device,
    )


def _compared(params: EvaluateParams, low: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """Which images withstand the attack in its own precision, and in float32."""
    return {
        "name": precision_name(params.precision, params.compile),
        "right": int(low.sum()),
        "right_in_float32": int(exact.sum()),
        "changed": int((low != exact).sum()),
    }

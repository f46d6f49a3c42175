"""Clean and adversarial accuracy of one model on one image set, under one attack.

Every verdict is float32's, on the same images and with the same starts for every model. Two
kinds, both well defined and never mixed:
    robust (any)   right on the clean image and at every iterate of the attack
    robust (last)  right at the last iterate, as the released SAFT code counts; attacks that
                   return their best iterate have none
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline.common.params import Section
from pipeline.evaluation.clean_predictions import Clean
from pipeline.evaluation.interface import Outcome, Run, Settings, Targets
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.splits.even_choice import evenly_spaced


class Verdicts(NamedTuple):
    """One model on N images: clean (length N); attacked int64 (M,), the positions the attack was
    run on, and its outcome (length M)."""

    clean: Clean
    attacked: np.ndarray
    outcome: Outcome


def evaluate_attack(
    classifier: ZeroShotClassifier,
    attack: Any,
    options: Section,
    targets: Targets,
    params: EvaluateParams,
    epsilon_255: float,
    clean: Clean,
    device: torch.device,
    run: Run | None = None,
) -> Verdicts:
    """The attack on every image whose verdict is still open.

    An image that is wrong already is not robust (any) whatever happens, so it is attacked
    only where robust (last) is asked for.

    Args:
        attack, options: a module of `pipeline.attacks` and its checked Params.
        epsilon_255: radius of the ball, in 1/255.
        clean: predictions on the unperturbed targets.
        run: in place of the attack's own, e.g. over several devices.
    """
    follow = run_to_last_mask(len(targets.labels), params)
    if not getattr(attack, "LAST_ITERATE", False):
        follow[:] = False
    examples = evenly_spaced(len(targets.labels), params.examples)
    is_attacked = (clean.prediction == targets.labels) | follow
    is_attacked[examples] = True
    attacked = np.flatnonzero(is_attacked)
    chosen = Targets(targets.pixels, targets.numbers[attacked], targets.labels[attacked])
    settings = Settings(
        norm=params.norm,
        epsilon=epsilon_255 / 255,
        batch_size=params.batch_size,
        seed=params.seed,
        follow=follow[attacked],
        examples=np.searchsorted(attacked, examples),
        device=device,
        guard_band=params.band,
    )
    outcome = (run or attack.run)(classifier, chosen, options, settings)
    return Verdicts(clean, attacked, outcome)


def run_to_last_mask(images: int, params: EvaluateParams) -> np.ndarray:
    """bool (N,): images attacked to the last iterate even when an earlier one is misclassified."""
    if params.robust == "last":
        return np.ones(images, dtype=bool)
    mask = np.zeros(images, dtype=bool)
    if params.last_images:
        mask[evenly_spaced(images, min(params.last_images, images))] = True
    return mask


def prediction_columns(model: str, targets: Targets, verdicts: Verdicts) -> dict[str, Any]:
    """Columns of PREDICTIONS for one model.

    An image that was not attacked keeps its (wrong) clean prediction, and the margin and confidence
    of it, as the adversarial ones.
    """
    clean, attacked, outcome = verdicts
    count = len(targets.labels)
    adversarial = Clean(*(values.copy() for values in clean))
    for name, values in adversarial._asdict().items():
        values[attacked] = getattr(outcome, name)
    fooled_at = np.zeros(count, dtype=np.int32)
    fooled_at[attacked] = outcome.fooled_at
    right = clean.prediction == targets.labels
    last: list[bool | None] = [None] * count
    zero: list[float | None] = [None] * count
    for row, position in enumerate(attacked):
        if outcome.last_prediction[row] >= 0:
            last[position] = bool(outcome.last_prediction[row] == targets.labels[position])
        if not np.isnan(outcome.zero_gradient[row]):
            zero[position] = float(outcome.zero_gradient[row])
    return {
        "model": [model] * count,
        "number": targets.numbers,
        "label": targets.labels.astype(np.int32),
        **{f"clean_{name}": values for name, values in clean._asdict().items()},
        **{f"adversarial_{name}": values for name, values in adversarial._asdict().items()},
        "fooled_at": fooled_at,
        "robust_any": right & (fooled_at < 0),
        "robust_last": last,
        "zero_gradient": zero,
    }


def accuracies(columns: dict[str, Any]) -> dict[str, Any]:
    """Counts behind each accuracy: clean, robust_any, and robust_last where measured."""
    last = [value for value in columns["robust_last"] if value is not None]
    return {
        "clean": _share(columns["clean_prediction"] == columns["label"]),
        "robust_any": _share(columns["robust_any"]),
        "robust_last": _share(last) if last else None,
    }


def _share(flags: Any) -> dict[str, Any]:
    correct, images = int(np.sum(flags)), len(flags)
    return {"correct": correct, "images": images, "accuracy": round(correct / images, 6)}


def summary(name: str, result: dict[str, Any], where: str) -> str:
    """One line for people: every verdict with the number of images behind it."""
    last = result["robust_last"]
    last_text = f", robust (last) {_percent(last)} of {last['images']}" if last else ""
    return (
        f"{where}: {name}: clean {_percent(result['clean'])} of {result['clean']['images']}, "
        f"robust (any) {_percent(result['robust_any'])}{last_text}"
    )


def _percent(share: dict[str, Any]) -> str:
    return f"{100 * share['accuracy']:.1f} %"

"""How sure each model is of its predictions on one image set: calibration and margins.

Every function takes a state: "clean", or "adversarial" for what the first attack leaves. There the
prediction of a fooled image is the one at the iterate that fooled the model, with its confidence
and margin there; of an image that was wrong already, and so not attacked, the clean one.
"""

from collections.abc import Callable

import numpy as np
import pyarrow.compute as pc

from pipeline.results.calibration import calibrated_error, expected_calibration_error
from pipeline.results.evaluated import EvaluatedSet

STATES = ("clean", "adversarial")


def confidences(evaluated: EvaluatedSet, model: str, state: str) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the predicted class, float32 (N,) in [0, 1], and whether that class is
    the label, bool (N,)."""
    table = evaluated.attacks[0].predictions[model]
    right = pc.equal(table[f"{state}_prediction"], table["label"])
    return table[f"{state}_confidence"].to_numpy(), right.to_numpy()


def calibration_errors(evaluated: EvaluatedSet, state: str) -> dict[str, float]:
    """By model, the expected calibration error in 0..1."""
    return _of_models(
        evaluated, lambda model: expected_calibration_error(*confidences(evaluated, model, state))
    )


def calibrated_errors(evaluated: EvaluatedSet, state: str) -> dict[str, float]:
    """By model, what the error of a calibrated one would stay below; see `calibrated_error`."""
    return _of_models(
        evaluated, lambda model: calibrated_error(confidences(evaluated, model, state)[0])
    )


def mean_margins(evaluated: EvaluatedSet, state: str) -> dict[str, float]:
    """By model, the mean over the images of: logit of the label minus the largest other logit."""
    tables = evaluated.attacks[0].predictions
    return _of_models(
        evaluated,
        lambda model: float(tables[model][f"{state}_margin"].to_numpy().mean(dtype=np.float64)),
    )


def _of_models(evaluated: EvaluatedSet, measure: Callable[[str], float]) -> dict[str, float]:
    return {model: measure(model) for model in evaluated.models}

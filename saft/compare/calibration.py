"""Expected calibration errors (ECE) beside the accuracies of a comparison: clean and under the
first attack, as the report has them."""

from pipeline.results.calibration import expected_calibration_error
from pipeline.results.confidence import STATES, confidences
from pipeline.results.evaluated import EvaluatedSet


def ece_titles(evaluated: EvaluatedSet) -> dict[str, str]:
    """Titles of the columns, by the measure whose accuracy each belongs to."""
    first = evaluated.about
    return {"clean": "ECE clean", first.attack: f"ECE {first.title}"}


def calibration_errors(evaluated: EvaluatedSet, model: str) -> dict[str, float]:
    """ECE in 0..1 by the same measures; see `pipeline.results.calibration`."""
    of_states = zip(ece_titles(evaluated), STATES, strict=True)
    return {
        measure: expected_calibration_error(*confidences(evaluated, model, state))
        for measure, state in of_states
    }

"""How sure a model is, against the rows of its predictions."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.results.confidence import (
    calibrated_errors,
    calibration_errors,
    confidences,
    mean_margins,
)
from pipeline.results.evaluated import EvaluatedSet, read_evaluated
from pipeline.results.files import evaluation_folder
from tests.support.report_inputs import change_verdicts

MODELS = ["finetuned", "base"]

pytestmark = pytest.mark.usefixtures("tree")


def read() -> EvaluatedSet:
    return read_evaluated("digits", "template", ["pgd", "apgd_ce"], 4, MODELS)


def file(attack: str, model: str) -> Path:
    return evaluation_folder("digits", "template", attack, 4, model) / "predictions.parquet"


def test_every_state_is_of_the_first_attack() -> None:
    for model in MODELS:
        rows = pq.read_table(file("pgd", model)).to_pylist()
        for state in ("clean", "adversarial"):
            confidence, right = confidences(read(), model, state)
            assert confidence.tolist() == [row[f"{state}_confidence"] for row in rows]
            assert right.tolist() == [row[f"{state}_prediction"] == row["label"] for row in rows]
            margins = [row[f"{state}_margin"] for row in rows]
            mean = mean_margins(read(), state)[model]
            assert mean == pytest.approx(sum(margins) / len(margins), abs=1e-6)


def test_a_fooled_image_counts_with_the_confidence_of_its_error() -> None:
    """Nine of ten images are wrong, and the model is sure of every one."""
    labels = pq.read_table(file("pgd", "base"))["label"].to_numpy()
    changes = {f"{state}_confidence": np.ones(len(labels)) for state in ("clean", "adversarial")}
    changes |= {"clean_prediction": labels}
    changes |= {"adversarial_prediction": (labels + (np.arange(len(labels)) % 10 != 0)) % 10}
    for attack in ("pgd", "apgd_ce"):
        change_verdicts(file(attack, "base").parent, **changes)
    assert calibration_errors(read(), "clean")["base"] == pytest.approx(0, abs=1e-9)
    assert calibration_errors(read(), "adversarial")["base"] == pytest.approx(0.9)
    # a calibrated model with these confidences makes no error at all
    assert calibrated_errors(read(), "adversarial")["base"] == pytest.approx(0, abs=1e-9)


def test_models_keep_their_order_and_the_bound_depends_on_the_images() -> None:
    assert list(calibration_errors(read(), "clean")) == MODELS
    few, many = (
        calibrated_errors(read(), "clean"),
        calibrated_errors(read_evaluated("shapes", "template", ["pgd"], 4, MODELS), "clean"),
    )
    assert 0 < many["base"] < few["base"] < 0.3, "300 images against 120"

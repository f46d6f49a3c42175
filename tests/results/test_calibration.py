"""Calibration error against its definition, computed image by image, and against scikit-learn."""

import math
from fractions import Fraction

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from pipeline.results.calibration import (
    BINS,
    calibrated_error,
    expected_calibration_error,
    reliability_table,
)


def drawn(count: int, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences of predictions that are right by `shift` more often than they say."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.2, 1.0, count).astype(np.float32)
    return confidence, rng.random(count) < confidence + shift


def naive(confidence: np.ndarray, right: np.ndarray) -> float:
    """Equation 3 of Guo et al. as it is written, in exact fractions."""
    total = Fraction(0)
    for m in range(1, BINS + 1):
        low, high = Fraction(m - 1, BINS), Fraction(m, BINS)
        rows = [i for i, c in enumerate(confidence) if low < Fraction(float(c)) <= high]
        if rows:
            mean = sum(Fraction(float(confidence[i])) for i in rows) / len(rows)
            accuracy = Fraction(sum(bool(right[i]) for i in rows), len(rows))
            total += Fraction(len(rows), len(confidence)) * abs(accuracy - mean)
    return float(total)


@pytest.mark.parametrize("count", [1, 7, 400])
@pytest.mark.parametrize("shift", [0.0, 0.2, -0.3])
def test_it_is_its_definition(count: int, shift: float) -> None:
    confidence, right = drawn(count, shift)
    assert expected_calibration_error(confidence, right) == pytest.approx(
        naive(confidence, right), abs=1e-12
    )


def test_the_table_is_scikit_learns() -> None:
    confidence, right = drawn(500)
    bins = reliability_table(confidence, right)
    accuracy, mean = calibration_curve(
        right, confidence.astype(np.float64), n_bins=BINS, strategy="uniform"
    )
    filled = [b for b in bins if b.images]
    np.testing.assert_allclose([b.accuracy for b in filled], accuracy, rtol=1e-12)
    np.testing.assert_allclose([b.confidence for b in filled], mean, rtol=1e-12)
    assert len(bins) == BINS
    assert 0 < len(filled) < BINS, "no confidence is below 0.2"
    assert sum(b.images for b in bins) == 500
    error = sum(b.images * abs(b.accuracy - b.confidence) for b in filled) / 500
    assert expected_calibration_error(confidence, right) == pytest.approx(error, abs=1e-12)


def test_the_borders_belong_to_the_bin_below_and_empty_bins_are_told() -> None:
    confidence = np.array([0.0, 1 / 15, 1 / 15 + 1e-9, 14 / 15, 1.0, 1.0])
    bins = reliability_table(confidence, np.array([False, False, True, True, True, False]))
    assert [b.images for b in bins] == [2, 1, *[0] * 11, 1, 2]
    assert bins[-1] == (14 / 15, 1.0, 2, 1.0, 0.5)
    assert bins[5] == (5 / 15, 6 / 15, 0, None, None)


def test_sure_and_right_is_0_and_sure_and_wrong_is_1() -> None:
    sure = np.ones(9, dtype=np.float32)
    assert expected_calibration_error(sure, np.ones(9, dtype=bool)) == 0
    assert expected_calibration_error(sure, np.zeros(9, dtype=bool)) == 1
    half = np.full(8, 0.5, dtype=np.float32)
    assert expected_calibration_error(half, np.arange(8) % 2 == 0) == 0


def test_the_order_of_the_images_does_not_matter() -> None:
    confidence, right = drawn(300, 0.1)
    order = np.random.default_rng(1).permutation(300)
    first = expected_calibration_error(confidence, right)
    assert expected_calibration_error(confidence[order], right[order]) == pytest.approx(first)


def test_a_calibrated_model_stays_below_its_bound_and_others_do_not() -> None:
    below = [
        expected_calibration_error(*drawn(200, seed=seed))
        <= calibrated_error(drawn(200, seed=seed)[0])
        for seed in range(100)
    ]
    assert 85 <= sum(below) <= 100, "95 of 100 are to be"
    confidence, right = drawn(200, -0.2)
    assert expected_calibration_error(confidence, right) > calibrated_error(confidence)
    assert calibrated_error(confidence) == calibrated_error(confidence), "the seed is fixed"
    # the bound falls as 1 / sqrt(N): nearly 0 is for many images alone
    few, many = (calibrated_error(drawn(count)[0]) for count in (100, 10_000))
    assert few / many == pytest.approx(math.sqrt(100), rel=0.35)

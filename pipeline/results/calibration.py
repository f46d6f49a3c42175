"""Calibration: does a model that gives its predictions a probability of 0.8 get 80 % of them right?

Expected calibration error as Guo et al. 2017, "On calibration of modern neural networks" (ICML,
arXiv 1706.04599), equation 3: the images are sorted into M = 15 equal-width bins of confidence,
((m - 1)/M, m/M], and ECE = sum over the bins of |B_m| / N * |accuracy(B_m) - confidence(B_m)|.
"""

from typing import NamedTuple

import numpy as np

BINS = 15


class Bin(NamedTuple):
    """The images with a confidence in (low, high], the first bin with 0: how many, their mean
    confidence and their accuracy in 0..1 (both None where there is no image)."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


def reliability_table(confidence: np.ndarray, right: np.ndarray) -> list[Bin]:
    """All BINS bins in rising order, for a reliability diagram.

    Args:
        confidence: float (N,) in [0, 1], the probability of the predicted class.
        right: bool (N,), whether the prediction is the label.
    """
    images, confidences, correct = _sums(confidence, right)
    return [
        Bin(
            m / BINS, (m + 1) / BINS, int(n), *((float(c / n), float(r / n)) if n else (None, None))
        )
        for m, (n, c, r) in enumerate(zip(images, confidences, correct, strict=True))
    ]


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """ECE in 0..1, see above; arguments as in `reliability_table`, N >= 1.

    It is never negative, so that on few images a calibrated model's is not 0 either:
    `calibrated_error` says how large.
    """
    _, confidences, correct = _sums(confidence, right)
    # |B|/N * |accuracy - confidence| is |correct - sum of confidences| / N: an empty bin adds 0
    return float(np.abs(correct - confidences).sum() / len(confidence))


def calibrated_error(confidence: np.ndarray, seed: int = 0, draws: int = 200) -> float:
    """The ECE that a perfectly calibrated model stays below in 95 of 100 test sets like this one.

    Consistency resampling (Bröcker and Smith 2007): with these N >= 1 confidences, each prediction
    is right with the probability that its confidence says. An ECE below it is no evidence of
    miscalibration. A bootstrap interval would not say that: resampling adds to a measure that
    sums absolute differences, its intervals lie too high.
    """
    rng = np.random.default_rng(seed)
    errors = [
        expected_calibration_error(confidence, rng.random(len(confidence)) < confidence)
        for _ in range(draws)
    ]
    return float(np.quantile(errors, 0.95))


def _sums(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per bin, each (BINS,): images, sum of confidences (float64), number right."""
    # float64 (BINS - 1,); an image whose confidence is a border belongs to the bin below it
    borders = np.arange(1, BINS) / BINS
    index = np.searchsorted(borders, confidence.astype(np.float64), side="left")
    sums = [np.bincount(index, weights, BINS) for weights in (None, confidence, right)]
    return sums[0], sums[1], sums[2]

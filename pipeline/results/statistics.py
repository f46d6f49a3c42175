"""Counts to statements: intervals, paired comparison, accuracy along the attack.

Intervals and tests come from scipy; this module has no formula for them.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, sem, t


class Share(NamedTuple):
    """`correct` of `images`, and the 95 % Wilson interval low..high, all shares in 0..1."""

    correct: int
    images: int
    value: float
    low: float
    high: float


class Paired(NamedTuple):
    """Two models on the same `images`: the images that only the second (`gained`) or only the
    first (`lost`) gets right, the difference of the shares, and the exact McNemar p-value."""

    images: int
    gained: int
    lost: int
    difference: float
    p_value: float


def wilson(correct: int, images: int) -> Share:
    """The share with its 95 % Wilson score interval; needs images >= 1."""
    interval = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    return Share(correct, images, correct / images, float(interval.low), float(interval.high))


def t_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of the mean of (N,) independent numbers, by Student's t; None where they
    say nothing about their spread: fewer than two, or all equal."""
    if len(values) < 2 or values.min() == values.max():
        return None
    low, high = t.interval(0.95, len(values) - 1, loc=values.mean(), scale=sem(values))
    return float(low), float(high)


def disjoint(first: Share, second: Share) -> bool:
    """True where the two intervals have no point in common."""
    return first.high < second.low or second.high < first.low


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two bool (N,) verdicts on the same images, N >= 1."""
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    # McNemar's exact test is the sign test on the images where the models disagree.
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Paired(len(first), gained, lost, (gained - lost) / len(first), p_value)


def accuracy_per_iterate(clean_right: np.ndarray, fooled_at: np.ndarray, steps: int) -> np.ndarray:
    """float64 (steps + 1,): share right on the clean image and at every iterate 0..t.

    Args:
        clean_right: bool (N,). An image that is wrong already cannot be robust, whatever the
            attack did to it.
        fooled_at: int (N,), the first wrong iterate (0 is the start), -1 for none.
    """
    iterate = np.arange(steps + 1)[:, None]
    return (clean_right & ((fooled_at < 0) | (fooled_at > iterate))).mean(axis=1)

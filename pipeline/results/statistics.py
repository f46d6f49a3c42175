"""Counts to statements: intervals, paired comparison, accuracy along the attack.

Intervals and tests come from scipy; this module has no formula for them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binom, binomtest, sem, t, ttest_1samp

ROUNDING = 1e-12  # of differences of shares: below that they are the same


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


class Spread(NamedTuple):
    """The mean of a number over `runs` runs that differ in their seed alone, and its standard
    deviation over them (divisor runs - 1; None for one run)."""

    value: float
    sd: float | None
    runs: int


class PairedRuns(NamedTuple):
    """Two settings under the same `seeds` on the same images, see `paired_runs`.

    difference: of the means over seeds, a share; low, high: its 95 % interval over seeds;
    image_p: of the test over images; seed_p: of the test over seeds. None where the numbers say
    nothing: fewer than two seeds, no spread over them, or several image sets (image_p).
    """

    seeds: int
    difference: float
    low: float | None
    high: float | None
    image_p: float | None
    seed_p: float | None


def wilson(correct: int, images: int) -> Share:
    """The share with its 95 % Wilson score interval; needs images >= 1."""
    interval = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    return Share(correct, images, correct / images, float(interval.low), float(interval.high))


def t_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of the mean of (N,) independent numbers, by Student's t; None where they
    say nothing about their spread: fewer than two, or all equal but for rounding."""
    if len(values) < 2 or np.ptp(values) <= ROUNDING:
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


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least one number."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd, len(values))


def paired_runs(first: np.ndarray, second: np.ndarray) -> PairedRuns:
    """Compare bool (S, N) verdicts of two settings: the same S seeds, the same N images.

    The S * N verdicts are not independent: an image is easy or hard under every seed, and a seed
    shifts all images. So each test keeps one of the two together, and there are two hypotheses:

    image_p: the trained networks are given. Null: on every image, exchanging the two settings (all
        seeds of it together) changes nothing in distribution. `sign_flip` of each image's
        difference of its number of right verdicts; with one seed that is McNemar's exact test. It
        tells whether other images would show the difference between *these* networks.
    seed_p, low, high: the images are given. Null: the expected difference between two trainings
        that share a seed (hence the order of images and the starts) is 0. Student's paired t over
        the S differences of accuracy, taken as normal. It tells whether other trainings would show
        it on *these* images, and has S - 1 degrees of freedom: see `detectable`.

    Neither covers what the other holds fixed; a difference is established where both show it.
    Sources: McNemar 1947; Fisher 1935 (sign flips); Dietterich 1998, "Approximate statistical tests
    for comparing supervised classification learning algorithms" (the two kinds of variation).
    """
    gains = second.sum(axis=0) - first.sum(axis=0)  # on each image, in seeds
    over_seeds = paired_seeds(second.mean(axis=1) - first.mean(axis=1))
    return over_seeds._replace(image_p=sign_flip(gains))


def paired_seeds(differences: np.ndarray) -> PairedRuns:
    """The test over seeds alone, of (S,) differences of accuracy."""
    interval, mean = t_interval(differences), float(differences.mean())
    if interval is None:
        return PairedRuns(len(differences), mean, None, None, None, None)
    p_value = float(ttest_1samp(differences, 0.0).pvalue)
    return PairedRuns(len(differences), mean, *interval, None, p_value)


def sign_flip(differences: np.ndarray) -> float:
    """Exact two-sided p-value of int (N,) paired differences, by the randomisation test whose null
    is that each is as likely with the other sign: the chance of a sum at least as far from 0.

    Differences of one size have a binomial number of plus signs; sizes are convolved. For
    differences of -1, 0 and 1 it is the sign test.
    """
    from scipy.signal import convolve  # half a second to import

    sizes = np.abs(differences).astype(np.int64)
    chances = np.ones(1)  # of every sum of the positive differences, from 0
    for size in np.unique(sizes[sizes > 0]):
        count = int((sizes == size).sum())
        of_size = np.zeros(size * count + 1)
        of_size[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        # by FFT, the default for long arrays, all chances below 1e-16 would be noise
        chances = convolve(chances, of_size, method="direct")
    sums = 2 * np.arange(len(chances)) - sizes.sum()
    extreme = np.abs(sums) >= abs(int(differences.sum()))
    return float(np.clip(chances[extreme].sum(), 0.0, 1.0))


def detectable(seeds: int) -> float:
    """The mean difference, in standard deviations of the differences over `seeds` >= 2, from which
    the paired t-test gives p <= 0.05."""
    return float(t.ppf(0.975, seeds - 1) / np.sqrt(seeds))


def accuracy_per_iterate(clean_right: np.ndarray, fooled_at: np.ndarray, steps: int) -> np.ndarray:
    """float64 (steps + 1,): share right on the clean image and at every iterate 0..t.

    Args:
        clean_right: bool (N,). An image that is wrong already cannot be robust, whatever the
            attack did to it.
        fooled_at: int (N,), the first wrong iterate (0 is the start), -1 for none.
    """
    iterate = np.arange(steps + 1)[:, None]
    return (clean_right & ((fooled_at < 0) | (fooled_at > iterate))).mean(axis=1)

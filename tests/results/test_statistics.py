"""Tests of two settings under several seeds."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel

from pipeline.results.statistics import (
    detectable,
    paired,
    paired_runs,
    paired_seeds,
    sign_flip,
    spread,
)


def verdicts(shares: list[float], images: int, seed: int) -> np.ndarray:
    """bool (S, N); an image's difficulty is the same under every seed and share."""
    difficulty = np.random.default_rng(0).random(images)
    noise = np.random.default_rng(seed).normal(scale=0.05, size=(len(shares), images))
    return difficulty + noise < np.array(shares)[:, None]


def test_a_spread_has_the_deviation_of_a_sample() -> None:
    assert spread([0.2, 0.4, 0.6]) == pytest.approx((0.4, 0.2, 3))
    assert spread([0.3]) == (0.3, None, 1)


def test_with_one_seed_the_test_over_images_is_mcnemars() -> None:
    first, second = verdicts([0.5], 200, 1), verdicts([0.6], 200, 2)
    tested = paired_runs(first, second)
    single = paired(first[0], second[0])
    assert 0 < single.lost < single.gained
    assert tested.image_p == pytest.approx(single.p_value)
    assert tested.difference == pytest.approx(single.difference)
    assert (tested.seeds, tested.seed_p, tested.low, tested.high) == (1, None, None, None)


def test_sign_flips_are_counted_exactly() -> None:
    """Against all 2^N signs."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        differences = rng.integers(-3, 4, 9)
        signs = np.array(list(itertools.product([-1, 1], repeat=9)))
        sums = np.abs(signs @ np.abs(differences))
        expected = (sums >= abs(differences.sum())).mean()
        assert sign_flip(differences) == pytest.approx(expected)
    assert sign_flip(np.zeros(5, dtype=np.int64)) == 1
    assert sign_flip(np.ones(10, dtype=np.int64)) == pytest.approx(2 / 2**10)
    assert sign_flip(-np.ones(10, dtype=np.int64)) == pytest.approx(2 / 2**10)


def test_the_test_over_seeds_is_the_paired_t_test() -> None:
    first, second = verdicts([0.5, 0.52, 0.48], 400, 2), verdicts([0.56, 0.6, 0.53], 400, 3)
    tested = paired_runs(first, second)
    expected = ttest_rel(second.mean(axis=1), first.mean(axis=1))
    assert tested.seed_p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (tested.low, tested.high) == pytest.approx((interval.low, interval.high))
    assert tested.low < tested.difference < tested.high
    assert tested.image_p == pytest.approx(sign_flip(second.sum(axis=0) - first.sum(axis=0)))


def test_more_seeds_on_the_same_images_are_not_more_images() -> None:
    """Copies of one seed leave the test over images as it is; pooled, they would not."""
    first, second = verdicts([0.5], 300, 3), verdicts([0.54], 300, 4)
    once = paired_runs(first, second).image_p
    copies = paired_runs(np.repeat(first, 4, axis=0), np.repeat(second, 4, axis=0))
    assert copies.image_p == pytest.approx(once)
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    assert binomtest(4 * gained, 4 * (gained + lost)).pvalue < once / 10
    assert copies.seed_p is None, "four equal differences say nothing about their spread"


def test_seeds_that_disagree_are_no_difference_however_many_the_images() -> None:
    first = verdicts([0.5, 0.5, 0.5], 20_000, 4)
    second = verdicts([0.6, 0.5, 0.42], 20_000, 5)
    tested = paired_runs(first, second)
    assert tested.image_p < 0.01
    assert tested.seed_p > 0.5


def test_few_seeds_see_large_differences_only() -> None:
    for seeds in (2, 3, 8):
        values = np.random.default_rng(seeds).normal(size=seeds)
        values += detectable(seeds) * values.std(ddof=1) - values.mean()
        assert paired_seeds(values).seed_p == pytest.approx(0.05)
    assert [round(detectable(seeds), 1) for seeds in (2, 3, 8)] == [9.0, 2.5, 0.8]


def test_equal_gains_under_every_seed_say_nothing_of_their_spread() -> None:
    first, second = np.zeros((3, 200), dtype=bool), np.zeros((3, 200), dtype=bool)
    for seed, right in enumerate((136, 62, 71)):
        first[seed, :right] = True
        second[seed, : right + 3] = True
    gains = second.mean(axis=1) - first.mean(axis=1)
    assert gains.min() < gains.max(), "by rounding alone"
    changed = paired_runs(first, second)
    assert (changed.low, changed.high, changed.seed_p) == (None, None, None)


def test_small_chances_of_many_images_are_no_noise() -> None:
    """Against exact counts: of sizes 3 and 1 all numbers of plus signs."""
    threes, ones = 600, 400
    differences = np.repeat([3, -3, 1, -1], [520, 80, 350, 50])
    observed, extreme = int(differences.sum()), 0
    for plus in range(threes + 1):
        three = 3 * (2 * plus - threes)
        tails = sum(comb(ones, j) for j in range(ones + 1) if abs(three + 2 * j - ones) >= observed)
        extreme += comb(threes, plus) * tails
    expected = float(Fraction(extreme, 2 ** (threes + ones)))
    assert 0 < expected < 1e-60
    assert sign_flip(differences) == pytest.approx(expected, rel=1e-9)

"""Precision, recall and AUC of what a rule keeps, with intervals by a bootstrap over classes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
SEED = 15


class Judged(NamedTuple):
    """A sentence with a verdict, after the filter.

    value: by the rule, NaN where cleaning dropped it; pair: the value of the sentence it was
    made from, NaN where there is none.
    """

    class_id: str
    good: bool
    kept: bool
    value: float
    pair: float


class Estimate(NamedTuple):
    """A share or a difference of two, its 95 % interval (NaN where there is nothing to share), and
    of how many."""

    value: float
    low: float
    high: float
    count: int


class Figures(NamedTuple):
    """What one rule keeps and how it orders.

    precision: good among the kept; recall: kept among the good; chance: good among all that
    cleaning left; gain: precision less chance, in the same resamples.
    auc: of the pairs of a good and a bad sentence of one class those in which the good one has the
    higher value, ties half; auc_all: the same of any classes, which is what a threshold sees;
    pairs: the same of a planted sentence and its origin.
    """

    precision: Estimate
    recall: Estimate
    chance: Estimate
    gain: Estimate
    auc: Estimate
    auc_all: Estimate
    pairs: Estimate


def figures(judged: Sequence[Judged]) -> Figures:
    """The figures of one rule over sentences with a verdict; those without are not among them."""
    class_ids = sorted({sentence.class_id for sentence in judged})
    of_class = [[s for s in judged if s.class_id == class_id] for class_id in class_ids]
    draws = np.random.default_rng(SEED).multinomial(
        len(of_class), np.full(len(of_class), 1 / len(of_class)), size=RESAMPLES
    )
    counts = (_precision, _recall, _chance, auc_counts, _pairs)
    precision, recall, chance, auc, pairs = (_estimate(c, of_class, draws) for c in counts)
    gain = _gain(of_class, draws)
    return Figures(precision, recall, chance, gain, auc, _auc_all(of_class, draws), pairs)


def auc_counts(sentences: Sequence[Judged]) -> tuple[float, int]:
    """Pairs in which the good sentence is above the bad one, ties half, and all pairs."""
    ranked = [s for s in sentences if not np.isnan(s.value)]
    good = np.array([s.value for s in ranked if s.good])[:, None]
    bad = np.array([s.value for s in ranked if not s.good])[None, :]
    return _above(good, bad)


def _gain(of_class: Sequence[Sequence[Judged]], draws: np.ndarray) -> Estimate:
    counts = np.array([[*_precision(part), *_chance(part)] for part in of_class])
    right, kept, good, ranked = counts.sum(0)
    if not kept:
        return Estimate(np.nan, np.nan, np.nan, 0)
    drawn = draws @ counts
    drawn = drawn[drawn[:, 1] > 0]
    differences = drawn[:, 0] / drawn[:, 1] - drawn[:, 2] / drawn[:, 3]
    low, high = np.quantile(differences, [0.025, 0.975])
    return Estimate(float(right / kept - good / ranked), float(low), float(high), int(kept))


def _auc_all(of_class: Sequence[Sequence[Judged]], draws: np.ndarray) -> Estimate:
    """Wins and pairs of the good sentences of class a and the bad ones of class b, weighted in a
    resample by how often both classes were drawn."""
    split = [
        [np.array([s.value for s in part if s.good == good and not np.isnan(s.value)])
         for part in of_class]
        for good in (True, False)
    ]  # fmt: skip
    counts = np.array(
        [[_above(good[:, None], bad[None, :]) for bad in split[1]] for good in split[0]]
    )
    wins, pairs = (np.einsum("ra,ab,rb->r", draws, counts[..., i], draws) for i in (0, 1))
    return _shares(counts[..., 0].sum(), counts[..., 1].sum(), wins, pairs)


def _precision(sentences: Sequence[Judged]) -> tuple[float, int]:
    kept = [s for s in sentences if s.kept]
    return sum(s.good for s in kept), len(kept)


def _recall(sentences: Sequence[Judged]) -> tuple[float, int]:
    good = [s for s in sentences if s.good]
    return sum(s.kept for s in good), len(good)


def _chance(sentences: Sequence[Judged]) -> tuple[float, int]:
    ranked = [s for s in sentences if not np.isnan(s.value)]
    return sum(s.good for s in ranked), len(ranked)


def _pairs(sentences: Sequence[Judged]) -> tuple[float, int]:
    paired = [s for s in sentences if not np.isnan(s.value + s.pair)]
    return _above(np.array([s.pair for s in paired]), np.array([s.value for s in paired]))


def _above(higher: np.ndarray, lower: np.ndarray) -> tuple[float, int]:
    wins = (higher > lower) + 0.5 * (higher == lower)
    return float(wins.sum()), wins.size


def _estimate(
    count: Callable[[Sequence[Judged]], tuple[float, int]],
    of_class: Sequence[Sequence[Judged]],
    draws: np.ndarray,
) -> Estimate:
    part, whole = np.array([count(sentences) for sentences in of_class]).T
    return _shares(part.sum(), whole.sum(), draws @ part, draws @ whole)


def _shares(part: float, whole: float, parts: np.ndarray, wholes: np.ndarray) -> Estimate:
    """The share, and the interval of the shares in the resamples that have something to share."""
    if not whole:
        return Estimate(np.nan, np.nan, np.nan, 0)
    shares = parts[wholes > 0] / wholes[wholes > 0]
    low, high = np.quantile(shares, [0.025, 0.975])
    return Estimate(float(part / whole), float(low), float(high), int(whole))

"""Worst case over text sets: what a model gets right whatever words the classes are put in.

A text set is a wording of the classes ("a photo of a {}", "there is a {} here."). The lowest of the
accuracies under several wordings is not the worst case: other images may fall under each.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.results.statistics import Share, wilson


def right_under_all(verdicts: Sequence[np.ndarray]) -> np.ndarray:
    """bool (N,): the images that are right under every text set.

    Args:
        verdicts: of each text set bool (N,), clean or robust, of the same N images in one order.

    Raises:
        ValueError: there is none, or they differ in their number of images.

    Example: [True, True, False] and [True, False, True] give [True, False, False]: a third of the
    images, where each text set alone has two thirds.
    """
    if len({values.shape for values in verdicts}) != 1:
        raise ValueError(f"verdicts of other images: {[len(values) for values in verdicts]}")
    return np.logical_and.reduce(verdicts)


def worst_case(verdicts: Sequence[np.ndarray]) -> Share:
    """The share of `right_under_all` with its 95 % interval; N >= 1."""
    right = right_under_all(verdicts)
    return wilson(int(right.sum()), len(right))

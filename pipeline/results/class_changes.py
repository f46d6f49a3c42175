"""Accuracy by class of two models on the same images: which classes gained and lost the most.

Classes have few images and there are many classes, so that some seem to change a lot by chance.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.results.statistics import Paired, paired

ERROR_RATE = 0.05


class ClassChange(NamedTuple):
    """One class with at least one image: its images, how many of them the first and the second
    model get right, and what changed between them.

    conclusive: False where nothing follows from so few images: the exact McNemar p-value, times the
    number of classes compared (Bonferroni: the classes on show are the extremes of all of them),
    is not below 0.05. That takes at least 6 images that only one of the models gets right.
    """

    label: int
    name: str
    images: int
    first: int
    second: int
    change: Paired
    conclusive: bool


class Extremes(NamedTuple):
    """The classes with the largest gain and the largest loss in accuracy, the largest first."""

    gained: list[ClassChange]
    lost: list[ClassChange]


def class_changes(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> list[ClassChange]:
    """Every class that has an image, by label.

    Args:
        first, second: bool (N,), verdicts of the two models on the same images.
        labels: int (N,), of those images.
        names: C names, by label.
    """
    present = np.unique(labels).tolist()
    return [
        _class_change(first[labels == c], second[labels == c], c, names[c], len(present))
        for c in present
    ]


def _class_change(
    first: np.ndarray, second: np.ndarray, label: int, name: str, classes: int
) -> ClassChange:
    change = paired(first, second)
    conclusive = change.p_value * classes < ERROR_RATE
    counts = len(first), int(first.sum()), int(second.sum())
    return ClassChange(label, name, *counts, change, conclusive)


def extremes(changes: Sequence[ClassChange], most: int = 5) -> Extremes:
    """The `most` classes with the largest gains and losses; classes without a change are in
    neither. Of equal changes the one of more images comes first."""
    ordered = sorted(changes, key=lambda c: (-abs(c.change.difference), -c.images, c.label))
    gained = [c for c in ordered if c.change.difference > 0]
    lost = [c for c in ordered if c.change.difference < 0]
    return Extremes(gained[:most], lost[:most])

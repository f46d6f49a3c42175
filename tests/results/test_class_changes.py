"""Accuracy by class of two models, and which of the changes mean anything."""

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.results.class_changes import class_changes, extremes

NAMES = ["ant", "bee", "cat", "dog"]


def verdicts(*per_class: tuple[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Verdicts of both models and labels, from strings of 1 (right) and 0 for each class; the
    images are shuffled."""
    first, second, labels = [], [], []
    for label, (before, after) in enumerate(per_class):
        first += [mark == "1" for mark in before]
        second += [mark == "1" for mark in after]
        labels += [label] * len(before)
    order = np.random.default_rng(0).permutation(len(labels))
    return np.array(first)[order], np.array(second)[order], np.array(labels)[order]


def test_counts_are_those_of_the_class_alone() -> None:
    changes = class_changes(
        *verdicts(("1100", "1011"), ("", ""), ("111", "000"), ("1", "1")), NAMES
    )
    assert [(c.label, c.name, c.images, c.first, c.second) for c in changes] == [
        (0, "ant", 4, 2, 3),
        (2, "cat", 3, 3, 0),
        (3, "dog", 1, 1, 1),
    ], "bee has no image"
    ant = changes[0].change
    assert (ant.gained, ant.lost, ant.difference) == (2, 1, 0.25)
    assert changes[1].change.difference == -1
    assert not any(c.conclusive for c in changes), "of 4 images nothing follows"


def test_what_is_conclusive_is_corrected_for_the_number_of_classes() -> None:
    """8 images of 8 have p = 0.0078, enough for 6 classes and not for 7."""
    assert binomtest(8, 8).pvalue == pytest.approx(2 / 2**8)
    for classes, conclusive in ((2, True), (6, True), (7, False)):
        same = [("1", "1")] * (classes - 1)
        changes = class_changes(*verdicts(("0" * 8, "1" * 8), *same), ["x"] * classes)
        assert [c.conclusive for c in changes] == [conclusive] + [False] * (classes - 1)
    five, six = (class_changes(*verdicts(("0" * n, "1" * n)), NAMES)[0].conclusive for n in (5, 6))
    assert (five, six) == (False, True), "6 images is the least"


def test_the_extremes_are_ordered_and_what_did_not_change_is_in_neither() -> None:
    changes = class_changes(
        *verdicts(("00", "10"), ("0000", "1100"), ("11", "11"), ("11", "00")), NAMES
    )
    gained, lost = extremes(changes)
    assert [c.name for c in gained] == ["bee", "ant"], "equal shares: more images first"
    assert [c.name for c in lost] == ["dog"]
    assert [c.name for c in extremes(changes, most=1).gained] == ["bee"]
    backwards = class_changes(
        *verdicts(("10", "00"), ("1100", "0000"), ("11", "11"), ("00", "11")), NAMES
    )
    assert [c.name for c in extremes(backwards).lost] == ["bee", "ant"]


def test_classes_that_change_by_chance_alone_are_rarely_conclusive() -> None:
    rng, runs = np.random.default_rng(0), 50
    labels, names = np.repeat(np.arange(100), 30), [str(label) for label in range(100)]
    wrongly = 0
    for _ in range(runs):
        first, second = (rng.random(len(labels)) < 0.6 for _ in range(2))
        changes = class_changes(first, second, labels, names)
        assert max(c.change.difference for c in changes) > 0.2, "and yet it looks like a lot"
        wrongly += any(c.conclusive for c in changes)
    assert wrongly <= 0.05 * runs

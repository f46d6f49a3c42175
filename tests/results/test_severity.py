"""The severity of mistakes, against means worked out by hand and over all wrong answers."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from pipeline.images.classes import ClassEntry
from pipeline.results.severity import class_distances, mistake_severity
from pipeline.results.statistics import t_interval

# of the classes d1, d2, b1, c1 of a graph in which d1 and d2 share a parent
DISTANCES = np.array([[0, 1, 2, 2], [1, 0, 2, 2], [2, 2, 0, 4], [2, 2, 4, 0]], dtype=np.int16)


def test_the_mean_is_over_the_wrong_images_alone() -> None:
    labels, predictions = np.array([0, 1, 2, 2, 3, 3]), np.array([0, 0, 3, 2, 3, 0])
    measured = mistake_severity(DISTANCES, labels, predictions)
    assert measured.wrong == 3
    assert measured.mean == pytest.approx((1 + 4 + 2) / 3)
    low, high = measured.interval
    assert low < measured.mean < high
    # class 1 has (1 + 2 + 2) / 3 over the others, classes 2 and 3 have (2 + 2 + 4) / 3
    assert measured.uniform == pytest.approx((5 / 3 + 8 / 3 + 8 / 3) / 3)


def test_uniform_is_the_mean_over_every_set_of_wrong_answers() -> None:
    labels = np.array([0, 2, 2, 3])
    means = [
        mistake_severity(DISTANCES, labels, np.array(answers)).mean
        for answers in product(range(4), repeat=4)
        if not (np.array(answers) == labels).any()
    ]
    assert len(means) == 3**4
    measured = mistake_severity(DISTANCES, labels, (labels + 1) % 4)
    assert measured.uniform == pytest.approx(np.mean(means))


def test_uniform_depends_on_which_images_are_wrong_not_on_their_answers() -> None:
    labels = np.array([0, 0, 2])
    first = mistake_severity(DISTANCES, labels, np.array([1, 0, 2]))
    assert first.uniform == pytest.approx(5 / 3)
    assert mistake_severity(DISTANCES, labels, np.array([3, 0, 2])).uniform == first.uniform
    assert mistake_severity(DISTANCES, labels, np.array([0, 0, 3])).uniform > first.uniform


def test_a_model_without_a_wrong_image_has_none() -> None:
    labels = np.array([0, 1, 2])
    assert mistake_severity(DISTANCES, labels, labels.copy()) is None


def test_one_mistake_or_equal_ones_have_no_interval() -> None:
    labels = np.array([0, 1, 2])
    assert mistake_severity(DISTANCES, labels, np.array([0, 1, 3])).interval is None
    assert mistake_severity(DISTANCES, labels, np.array([1, 0, 2])).interval is None


def test_the_interval_is_where_the_t_test_does_not_reject() -> None:
    values = np.array([1, 4, 2, 2, 9], dtype=np.int16)
    for border in t_interval(values):
        assert ttest_1samp(values, border).pvalue == pytest.approx(0.05)


def test_it_covers_the_mean_of_uniform_mistakes_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    labels = np.tile(np.arange(4), 25)
    for _ in range(300):
        answers = (labels + rng.integers(1, 4, len(labels))) % 4
        measured = mistake_severity(DISTANCES, labels, answers)
        covered += measured.interval[0] <= measured.uniform <= measured.interval[1]
    assert 0.92 <= covered / 300 <= 1


def test_class_ids_that_are_no_wnids_have_no_distances() -> None:
    def classes(*ids: str) -> list[ClassEntry]:
        return [ClassEntry(class_id, "a name") for class_id in ids]

    tabby, egyptian = "n02123045", "n02124075"
    assert class_distances(classes(tabby, egyptian)).tolist() == [[0, 1], [1, 0]]
    assert class_distances(classes("0", "1")) is None
    assert class_distances(classes(tabby, egyptian, "n99999999")) is None, "not a part of them"

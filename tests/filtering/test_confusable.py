"""Which classes a model confuses, by hand-made scores and features."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.filtering import confusable
from pipeline.filtering.confusable import mean_probabilities, most_confused

NAMES = ["ant", "bee", "cat", "dog"]


def test_the_highest_scores_come_first_and_equal_ones_in_class_order():
    scores = np.array([[9, 2, 3, 2], [1, 9, 1, 1], [4, 5, 9, 6], [0.1, 0.2, 0.3, 9]])
    assert most_confused(scores, NAMES, 2) == [
        [(2, 3.0), (1, 2.0)],
        [(0, 1.0), (2, 1.0)],
        [(3, 6.0), (1, 5.0)],
        [(2, 0.3), (1, 0.2)],
    ]
    few = most_confused(scores, NAMES, 20)
    assert [len(others) for others in few] == [3] * 4, "there are no more"
    assert all(label not in dict(others) for label, others in enumerate(few))


def test_classes_of_one_name_are_never_contrasted_nor_named_twice():
    names = ["crane", "heron", " Crane", "stork", "STORK"]
    scores = np.array([[9, 1, 8, 2, 3]] * 5, dtype=np.float32)
    confused = most_confused(scores, names, 5)
    assert confused[0] == [(4, 3.0), (1, 1.0)]
    assert [label for label, _ in confused[1]] == [0, 4]
    assert [label for label, _ in confused[3]] == [0, 1]
    assert most_confused(scores[:1, :1], ["crane"], 3) == [[]]
    assert most_confused(np.ones((2, 2)), ["crane", "crane"], 3) == [[], []]


@pytest.mark.parametrize("chunk", [2, 4096])
def test_probabilities_are_means_over_the_images_of_a_class(monkeypatch, chunk):
    monkeypatch.setattr(confusable, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(7, 5, generator=generator), dim=-1)
    texts = F.normalize(torch.randn(3, 5, generator=generator), dim=-1)
    labels = np.array([0, 2, 1, 0, 2, 2, 1])
    probabilities = mean_probabilities(features, labels, texts, 20.0)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    for label in range(3):
        logits = [20 * (texts @ features[number]) for number in np.flatnonzero(labels == label)]
        expected = torch.stack([one.softmax(0) for one in logits]).mean(0)
        np.testing.assert_allclose(probabilities[label], expected, rtol=1e-4)

"""The rules by which sentences are ranked, against values worked out by hand."""

import numpy as np
import pytest

from pipeline.filtering import ranking
from pipeline.filtering.phrases import noun_phrases
from pipeline.filtering.ranking import Sentences, agreement, confusable, ranks_in_class

EAST, NORTH = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
BETWEEN = np.array([0.6, 0.8], np.float32)
DIRECTIONS = {"ant": EAST, "bee": NORTH, "wing": BETWEEN}


def encode(texts: list[str]) -> np.ndarray:
    """Words with a direction of their own."""
    return np.stack([DIRECTIONS[text] for text in texts])


def sentences(neighbours: list[list[bool]]) -> Sentences:
    """Two of class 0 (the ant), one of class 1 (the bee); class 2 is the wing."""
    return Sentences(
        ["The ant has a wing.", "An ant is an ant.", "A bee and a wing."],
        np.array([0, 0, 1]),
        np.stack([BETWEEN, EAST, NORTH]),
        np.stack([EAST, NORTH, BETWEEN]),
        np.array(neighbours),
    )


BEE_ONLY = [[False, True, False], [True, False, False], [False, False, False]]


def test_similarity_is_the_cosine_with_the_own_reference():
    np.testing.assert_allclose(
        ranking.values("similarity", sentences(BEE_ONLY), encode), [0.6, 1, 1], rtol=1e-6
    )


def test_the_neighbour_margin_looks_at_the_neighbours_only():
    # against the bee: 0.6 - 0.8, 1 - 0; the bee's own against the ant: 1 - 0. The wing, which is
    # nearer to each, is no neighbour
    values = ranking.values("neighbour_margin", sentences(BEE_ONLY), encode)
    np.testing.assert_allclose(values, [-0.2, 1, 1], atol=1e-6)
    both = [[False, True, True], [True, False, True], [True, True, False]]
    values = ranking.values("neighbour_margin", sentences(both), encode)
    np.testing.assert_allclose(values, [0.6 - 1, 1 - 0.6, 1 - 0.8], atol=1e-6)


def test_without_neighbours_the_margin_is_the_similarity():
    none = np.zeros((3, 3), bool).tolist()
    values = ranking.values("neighbour_margin", sentences(none), encode)
    np.testing.assert_allclose(values, [0.6, 1, 1], atol=1e-6)


def test_phrases_are_compared_one_by_one():
    # "ant" and "wing" with the ant: 1 and 0.6; "bee" and "wing" with the bee: 1 and 0.8
    weakest = ranking.values("weakest_phrase", sentences(BEE_ONLY), encode)
    np.testing.assert_allclose(weakest, [0.6, 1, 0.8], rtol=1e-6)
    mean = ranking.values("mean_phrase", sentences(BEE_ONLY), encode)
    np.testing.assert_allclose(mean, [0.8, 1, 0.9], rtol=1e-6)


def test_agreement_is_the_mean_cosine_with_the_others_of_the_class():
    features = np.stack([EAST, EAST, NORTH, BETWEEN])
    np.testing.assert_allclose(agreement(features, np.array([0, 0, 0, 1])), [0.5, 0.5, 0, 1])


def test_ranks_are_shares_of_the_class_and_ties_count_half():
    scores = np.array([0.1, 0.3, 0.3, 0.9, 0.2])
    ranks = ranks_in_class(scores, np.array([0, 0, 0, 0, 1]))
    np.testing.assert_allclose(ranks, [0, 0.5, 0.5, 1, 1])


def test_combined_is_the_mean_rank_of_the_five():
    # class 0: the second is above the first by similarity, margin and both phrase rules, and
    # level with it in agreement; the third is alone in its class
    values = ranking.values("combined", sentences(BEE_ONLY), encode)
    np.testing.assert_allclose(values, [0.1, 0.9, 1], rtol=1e-6)
    assert len(ranking.RULES) == 6


def test_confusable_are_the_nearest_names_of_other_classes():
    names = ["crane", "Crane ", "heron", "truck"]
    features = np.stack([EAST, EAST, BETWEEN, NORTH])
    assert confusable(features, names, 1).tolist() == [
        [False, False, True, False],
        [False, False, True, False],
        [False, False, False, True],
        [False, False, True, False],
    ]
    assert confusable(features, names, 5).sum(1).tolist() == [2, 2, 3, 3]
    assert not confusable(features[:1], names[:1], 5).any()


@pytest.mark.parametrize(
    ("sentence", "phrases"),
    [
        ("A goldfish has a round body and a fin.", ["goldfish", "round body", "fin"]),
        ("The bee's wings are thin and yellow-black", ["bee's wings", "thin", "yellow-black"]),
        ("It is.", ["It is."]),
        ("An eight-legged spider, in its web!", ["eight-legged spider", "web"]),
    ],
)  # fmt: skip
def test_noun_phrases_lie_between_function_words(sentence, phrases):
    assert noun_phrases(sentence) == phrases

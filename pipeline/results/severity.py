"""Mistake severity: how far from the label the wrong predictions are in WordNet.

The severity of a mistake is the height of the lowest common ancestor of the label and the
predicted class: Deng et al. 2010, "What does classifying more than 10,000 image categories tell
us?" (ECCV), as a mean over the wrong images alone: Bertinetto et al. 2020, "Making better
mistakes" (CVPR, arXiv 1912.09393). The height of a node is the longest path down to a class of
the image set. Bertinetto et al. first made WordNet a tree without nodes that have one child;
here it stays the graph that it is, so that the numbers are not theirs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.images.classes import ClassEntry
from pipeline.results.evaluated import EvaluatedSet
from pipeline.results.hypernyms import ancestor_heights, read_hypernyms
from pipeline.results.statistics import t_interval


class Severity(NamedTuple):
    """The mistakes of one model on one image set.

    wrong: the images that are wrong, at least one; mean: of their severities; interval: its 95 %
    interval, None where `t_interval` has none; uniform: the mean to expect on these images of wrong
    answers that are drawn uniformly at random from the other classes.
    """

    wrong: int
    mean: float
    interval: tuple[float, float] | None
    uniform: float


def class_distances(classes: Sequence[ClassEntry]) -> np.ndarray | None:
    """int16 (C, C), the severity of taking a class for another; None unless all ids are wnids of
    the bundled part of WordNet."""
    hypernyms, ids = read_hypernyms(), [class_entry.class_id for class_entry in classes]
    return ancestor_heights(hypernyms, ids) if hypernyms.keys() >= set(ids) else None


def mistake_severity(
    distances: np.ndarray, labels: np.ndarray, predictions: np.ndarray
) -> Severity | None:
    """None where no image is wrong.

    Args:
        distances: int (C, C), see `class_distances`.
        labels, predictions: int (N,) in 0..C-1, of the same images.
    """
    wrong = labels != predictions
    if not wrong.any():
        return None
    severities = distances[labels[wrong], predictions[wrong]]
    # float64 (C,): the mean of each class over the C - 1 others, its own distance being 0
    over_others = distances.sum(axis=1) / (len(distances) - 1)
    uniform = float(over_others[labels[wrong]].mean())
    return Severity(int(wrong.sum()), float(severities.mean()), t_interval(severities), uniform)


def severities(evaluated: EvaluatedSet, state: str) -> dict[str, Severity | None] | None:
    """By model, None for one without a mistake; None where the class ids are no wnids.

    Args:
        state: "clean" or "adversarial", see `pipeline.results.confidence`.
    """
    distances = class_distances(evaluated.classes)
    if distances is None:
        return None
    return {
        model: mistake_severity(
            distances, table["label"].to_numpy(), table[f"{state}_prediction"].to_numpy()
        )
        for model, table in evaluated.attacks[0].predictions.items()
    }

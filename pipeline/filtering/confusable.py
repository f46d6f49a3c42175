"""Which classes a CLIP confuses with which: by their texts, or by their images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.filtering.similarity import same_name

CHUNK = 4096


def most_confused(
    scores: np.ndarray, names: Sequence[str], count: int
) -> list[list[tuple[int, float]]]:
    """Per class the labels of the `count` others of highest score, or all there are, each with
    its score; best first, equal ones in label order.

    No class of the same name is among them, and of several of one name only the first: for names
    ["crane", "crane", "heron", "stork"] and rows of scores [1, 1, 0.8, 0.9] class 0 has
    [(3, 0.9), (2, 0.8)].

    Args:
        scores: float (C, C), row c: how much class c is taken for each class.
    """
    same = same_name(names)
    confused = []
    for label, row in enumerate(scores):
        taken = same[label].copy()
        chosen: list[tuple[int, float]] = []
        for other in map(int, np.argsort(-row, kind="stable")):
            if len(chosen) == count:
                break
            if not taken[other]:
                chosen.append((other, float(row[other])))
                taken |= same[other]
        confused.append(chosen)
    return confused


def mean_probabilities(
    features: Tensor, labels: np.ndarray, class_features: Tensor, scale: float
) -> np.ndarray:
    """float64 (C, C): row c is the mean zero-shot probability of each class on the images of
    class c, so that a row sums to 1.

    Args:
        features: float32 (N, D), unit norm, of images; of each class at least one.
        labels: int64 (N,).
        class_features: float32 (C, D), unit norm, of one text per class.
        scale: factor from cosines to logits.
    """
    classes = len(class_features)
    sums = torch.zeros(classes, classes, dtype=torch.float64)
    label_tensor = torch.from_numpy(labels)
    for start in range(0, len(features), CHUNK):  # N x C probabilities of a part only
        part = slice(start, start + CHUNK)
        logits = scale * (features[part] @ class_features.T).double()
        sums.index_add_(0, label_tensor[part], logits.softmax(dim=-1))
    return (sums / torch.bincount(label_tensor, minlength=classes)[:, None]).numpy()

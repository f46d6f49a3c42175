"""How close sentences are to their class, and in which order to take them."""

from collections.abc import Sequence

import numpy as np


def score(
    features: np.ndarray, labels: np.ndarray, references: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine with the sentence's class, margin over the nearest other class, and the other's label.

    Args:
        features: float32 (N, D) of the sentences, references: float32 (C, D), unit norm.
        labels: int64 (N,), the class of each sentence.
        names: C texts; a class whose text is the same, but for case and white space (which
            CLIP does not see), counts as the same class: crane, crane; Cardigan, cardigan.

    Returns:
        float32 (N,), float32 (N,), int64 (N,); with a single class margin NaN and label -1.
    """
    similarities = features @ references.T
    own_similarity = similarities[np.arange(len(labels)), labels]
    others = np.where(same_name(names)[labels], -np.inf, similarities)
    nearest = others.argmax(1)
    highest = others[np.arange(len(labels)), nearest]
    single_class = np.isinf(highest)
    margin = np.where(single_class, np.nan, own_similarity - highest)
    return own_similarity, margin.astype(np.float32), np.where(single_class, -1, nearest)


def same_name(names: Sequence[str]) -> np.ndarray:
    """bool (C, C): which names are the same but for case and white space."""
    folded_names = [" ".join(name.casefold().split()) for name in names]
    _, name_index = np.unique(np.asarray(folded_names), return_inverse=True)
    return name_index[None, :] == name_index[:, None]


def order_by_relevance(scores: np.ndarray, features: np.ndarray, diversity: float) -> list[int]:
    """Indices by falling score, equal scores in their order; with diversity d > 0 by maximal
    marginal relevance (Carbonell and Goldstein, 1998): each next sentence has the highest
    (1 - d) score - d max cosine with those chosen before.

    For example scores [0.9, 0.8, 0.7] of which the first two sentences are equal (cosine 1) and
    the third is orthogonal to both: [0, 1, 2] for d = 0, [0, 2, 1] for d = 0.5 (0.35 > -0.1).
    """
    if diversity == 0:
        return np.argsort(-scores.astype(np.float32), kind="stable").tolist()
    order: list[int] = []
    remaining = list(range(len(scores)))
    closest = np.full(len(scores), -np.inf)
    while remaining:
        penalty = closest[remaining] if order else np.zeros(len(remaining))
        gain = (1 - diversity) * scores[remaining] - diversity * penalty
        best = remaining.pop(int(gain.argmax()))
        order.append(best)
        closest = np.maximum(closest, features @ features[best])
    return order

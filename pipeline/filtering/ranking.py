"""How close sentences are to their class, and in which order to take them."""

from collections.abc import Sequence

import numpy as np


def score(
    features: np.ndarray, labels: np.ndarray, references: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine with the own class, margin over the nearest other class, and that class's label.

    Args:
        features: float32 (N, D) of the sentences, references: float32 (C, D), unit norm.
        labels: int64 (N,), the class of each sentence.
        names: C texts; a class whose text is the same, but for case and white space (which
            CLIP does not see), is not another one: crane, crane; Cardigan, cardigan.

    Returns:
        float32 (N,), float32 (N,), int64 (N,); with a single class margin NaN and label -1.
    """
    similarities = features @ references.T
    own = similarities[np.arange(len(labels)), labels]
    seen = [" ".join(name.casefold().split()) for name in names]
    _, kind = np.unique(np.asarray(seen), return_inverse=True)
    others = np.where(kind[None, :] == kind[labels][:, None], -np.inf, similarities)
    nearest = others.argmax(1)
    highest = others[np.arange(len(labels)), nearest]
    alone = np.isinf(highest)
    margin = np.where(alone, np.nan, own - highest)
    return own, margin.astype(np.float32), np.where(alone, -1, nearest)


def order_by_relevance(scores: np.ndarray, features: np.ndarray, diversity: float) -> list[int]:
    """Places by falling score, equal scores in their order; with diversity d > 0 by maximal
    marginal relevance (Carbonell and Goldstein, 1998): each next sentence has the highest
    (1 - d) score - d max cosine with those chosen before."""
    if diversity == 0:
        return np.argsort(-scores.astype(np.float32), kind="stable").tolist()
    order: list[int] = []
    left = list(range(len(scores)))
    closest = np.full(len(scores), -np.inf)
    while left:
        penalty = closest[left] if order else np.zeros(len(left))
        gain = (1 - diversity) * scores[left] - diversity * penalty
        best = left.pop(int(gain.argmax()))
        order.append(best)
        closest = np.maximum(closest, features @ features[best])
    return order

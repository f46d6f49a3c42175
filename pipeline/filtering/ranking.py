"""By what the sentences of a class are ranked: SAFT's similarity, and rules beside it.

| rule               | value of a sentence, the higher the better                              |
|--------------------|-------------------------------------------------------------------------|
| `similarity`       | cosine with the reference of its class (SAFT)                           |
| `neighbour_margin` | that, less the highest cosine with a confusable class's reference       |
| `weakest_phrase`   | the lowest cosine of one of its noun phrases with the reference         |
| `mean_phrase`      | the mean cosine of its noun phrases with the reference                  |
| `agreement`        | the mean cosine with the other sentences of its class                   |
| `combined`         | the mean over the five of its rank in the class, from 0 to 1            |

Confusable are the NEIGHBOURS classes whose names are nearest in CLIP's text space.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from pipeline.filtering.phrases import noun_phrases
from pipeline.filtering.similarity import same_name

Rule = Literal[
    "similarity", "neighbour_margin", "weakest_phrase", "mean_phrase", "agreement", "combined"
]
RULES: tuple[Rule, ...] = get_args(Rule)
NEIGHBOURS = 5
Encode = Callable[[list[str]], np.ndarray]  # N texts -> float32 (N, D), unit norm


class Sentences(NamedTuple):
    """What a rule looks at; all features are float32 of unit norm.

    texts: N sentences; labels: int64 (N,), their classes; features: (N, D); references: (C, D),
    of the classes; confusable: bool (C, C), row c is true at the neighbours of class c.
    """

    texts: Sequence[str]
    labels: np.ndarray
    features: np.ndarray
    references: np.ndarray
    confusable: np.ndarray


def confusable(name_features: np.ndarray, names: Sequence[str], count: int) -> np.ndarray:
    """bool (C, C): row c is true at the `count` classes nearest to class c, or all there are.

    Args:
        name_features: float32 (C, D), unit norm, of the names; a class of the same name is
            no neighbour.
    """
    similarities = np.where(same_name(names), -np.inf, name_features @ name_features.T)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
    nearest = np.zeros(similarities.shape, dtype=bool)
    np.put_along_axis(nearest, order, True, axis=1)
    return nearest & np.isfinite(similarities)


def values(rule: Rule, sentences: Sentences, encode: Encode) -> np.ndarray:
    """float32 (N,): the value of each sentence by a rule."""
    if not sentences.texts:
        return np.empty(0, dtype=np.float32)
    if rule == "combined":
        single = [name for name in RULES if name != "combined"]
        ranks = [
            ranks_in_class(values(name, sentences, encode), sentences.labels) for name in single
        ]
        return np.mean(ranks, axis=0).astype(np.float32)
    if rule == "agreement":
        return agreement(sentences.features, sentences.labels)
    if rule in ("weakest_phrase", "mean_phrase"):
        return phrase_similarity(sentences, encode, weakest=rule == "weakest_phrase")
    similarities = sentences.features @ sentences.references.T
    own_similarity = similarities[np.arange(len(sentences.labels)), sentences.labels]
    if rule == "similarity":
        return own_similarity
    neighbours = sentences.confusable[sentences.labels]
    highest = np.where(neighbours, similarities, -np.inf).max(1)
    return own_similarity - np.where(neighbours.any(1), highest, 0)


def agreement(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float32 (N,): mean cosine with the other sentences of the class; 1 for an only one.

    For example three sentences of a class of which the first two are equal and the third is
    orthogonal to both: 0.5, 0.5, 0.
    """
    result = np.ones(len(labels), dtype=np.float32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            cosines = features[members] @ features[members].T
            np.fill_diagonal(cosines, 0)
            result[members] = cosines.sum(1) / (len(members) - 1)
    return result


def phrase_similarity(sentences: Sentences, encode: Encode, weakest: bool) -> np.ndarray:
    """float32 (N,): the lowest or the mean cosine of a sentence's noun phrases with the
    reference of its class."""
    phrases = [noun_phrases(text) for text in sentences.texts]
    counts = np.array([len(parts) for parts in phrases])
    distinct = sorted({phrase for parts in phrases for phrase in parts})
    row_of = {phrase: row for row, phrase in enumerate(distinct)}
    rows = [row_of[phrase] for parts in phrases for phrase in parts]
    references = sentences.references[np.repeat(sentences.labels, counts)]
    cosines = np.einsum("nd,nd->n", encode(distinct)[rows], references)
    starts = np.cumsum(counts) - counts
    if weakest:
        return np.minimum.reduceat(cosines, starts).astype(np.float32)
    return (np.add.reduceat(cosines, starts) / counts).astype(np.float32)


def ranks_in_class(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float64 (N,): the share of the other sentences of its class that a sentence is above,
    equal ones counted half; 1 for an only one."""
    result = np.ones(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            own_scores, others = scores[members][:, None], scores[members][None, :]
            above = (own_scores > others) + 0.5 * (own_scores == others)
            result[members] = (above.sum(1) - 0.5) / (len(members) - 1)
    return result

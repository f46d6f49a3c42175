"""Worst case over text sets: what a model gets right whatever words the classes are put in.

A text set is a wording of the classes ("a photo of a {}", "there is a {} here."). The lowest of the
accuracies under several wordings is not the worst case: other images may fall under each.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.common.errors import UserError
from pipeline.results.accuracy import verdicts
from pipeline.results.evaluated import EvaluatedSet
from pipeline.results.statistics import Share, wilson


def right_under_all(verdicts_of_texts: Sequence[np.ndarray]) -> np.ndarray:
    """bool (N,): the images that are right under every text set.

    Args:
        verdicts_of_texts: of each text set bool (N,), clean or robust, of the same N images in
            one order.

    Raises:
        ValueError: there is none, or they differ in their number of images.

    Example: [True, True, False] and [True, False, True] give [True, False, False]: a third of the
    images, where each text set alone has two thirds.
    """
    if len({values.shape for values in verdicts_of_texts}) != 1:
        lengths = [len(values) for values in verdicts_of_texts]
        raise ValueError(f"verdicts of other images: {lengths}")
    return np.logical_and.reduce(verdicts_of_texts)


def worst_case(verdicts_of_texts: Sequence[np.ndarray]) -> Share:
    """The share of `right_under_all` with its 95 % interval; N >= 1."""
    right = right_under_all(verdicts_of_texts)
    return wilson(int(right.sum()), len(right))


def worst_over_texts(of_texts: Sequence[EvaluatedSet], measure: str) -> dict[str, Share]:
    """By model, the worst case of one data set at one epsilon.

    Args:
        of_texts: the set under each text set.
        measure: "clean" or "robust", which all images have.

    Raises:
        UserError: the text sets were evaluated on different images.
    """
    first, *others = of_texts
    numbers = [e.attacks[0].predictions[e.models[0]]["number"] for e in of_texts]
    for evaluated, other in zip(others, numbers[1:], strict=True):
        if other != numbers[0]:
            raise UserError(
                f"data set '{first.about.dataset}': not the same images under text sets "
                f"'{first.about.texts.name}' and '{evaluated.about.texts.name}'; run `dvc repro`"
            )
    right = [verdicts(evaluated, measure) for evaluated in of_texts]
    return {model: worst_case([of_models[model] for of_models in right]) for model in first.models}

"""Models that cannot be judged by one forward: randomised ones, ones that keep state, broken ones.

A verdict of this project is one float32 forward, in whatever batch the image happens to be. That
means nothing for a model whose two forwards of an image differ, or whose logits of an image depend
on the rest of its batch (batch norm on the batch's own statistics). Such a model is refused, and so
is one whose features are not finite or zero: every image would be of class 0, under any attack.
"""

import torch
from torch import Tensor

from pipeline.common.errors import UserError
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

IMAGES = 4
# In cosine, that is in logits divided by the scale (at most 100): float32 sums of another batch
# move the cosines of a ViT-B or ViT-L by 1e-7 on a CPU, dropout of one value in ten by 1e-2.
TOLERANCE = 1e-4


def check_deterministic(
    classifier: ZeroShotClassifier, targets: Targets, name: str, device: torch.device
) -> None:
    """Refuse a model whose logits do not follow from the image alone; two small forwards.

    The first images are classified as they are, and again in another batch: later in it, and
    behind their negatives. Only where the two differ is the first forward repeated, to tell why.

    Args:
        classifier: on `device`.
        targets: their first IMAGES images are used, or all if there are fewer.
        name: of the model, for the message.

    Raises:
        UserError: the logits of an image differ by more than TOLERANCE times the classifier's
            scale; or its feature is not finite, or zero.
    """
    images = targets.read(slice(0, IMAGES), device)[0]
    if not len(images):
        return
    logits = _usable_logits(classifier, images, name)
    mixed = _logits(classifier, torch.cat([1 - images, images]))[len(images) :]
    difference = _largest_difference(logits, mixed)
    if difference <= TOLERANCE * classifier.scale:
        return
    repeated = _largest_difference(logits, _logits(classifier, images))
    if repeated > TOLERANCE * classifier.scale:
        raise UserError(
            f"params.yaml: evaluate.models: '{name}': two forwards of the same images differ, by "
            f"{repeated:.3g} in logits: it is randomised or keeps state; switch off its dropout, "
            "noise or counters, or take it out of the list"
        )
    raise UserError(
        f"params.yaml: evaluate.models: '{name}': the logits of an image depend on what else is "
        f"in its batch, by {difference:.3g}; freeze its batch statistics (batch norm in eval "
        "mode), or take it out of the list"
    )


@torch.no_grad()
def _usable_logits(classifier: ZeroShotClassifier, images: Tensor, name: str) -> Tensor:
    features = classifier.judged_features(images)
    logits = classifier.logits(features).double()
    fault = "" if logits.isfinite().all() else "its logits are not finite"
    if not fault and not features.any(1).all():
        fault = "its feature of an image is zero"
    if fault:
        raise UserError(
            f"params.yaml: evaluate.models: '{name}': {fault}; its weights are damaged or need "
            "another config, take it out of the list"
        )
    return logits


@torch.no_grad()
def _logits(classifier: ZeroShotClassifier, images: Tensor) -> Tensor:
    return classifier(images).double()


def _largest_difference(first: Tensor, second: Tensor) -> float:
    """Infinite where one of them is not finite."""
    return float((first - second).abs().nan_to_num(torch.inf).max())

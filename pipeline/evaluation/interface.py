"""Evaluation attacks, one file each; the file name is what `evaluate.attacks` lists.

An attack module has
    TITLE                       its name as papers write it
    class Params(Section)       its keys under `evaluate.options.<attack>`
    def max_iterates(params) -> int | None   most iterates of an image, the starts included; None
                                for an attack of a library that tells no iterates, which has then
    LIBRARY_STEPS: int          steps on an image that withstands all of them, for estimates
    LAST_ITERATE = True         only if it has one that may differ from the best
    def run(classifier, targets, params, settings) -> Outcome
    def images_per_call(batch_size) -> int   only if a verdict depends on the other images: of so
                                             many consecutive ones, to be kept together
What several attacks share is in the other modules of `pipeline.evaluation`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.model import scaled, to_float_pixels
from pipeline.clip.upload import Sent, Uploader
from pipeline.images.streaming import Pixels, depth, prefetch
from pipeline.zeroshot.pgd_step import Norm


class Targets(NamedTuple):
    """The images to attack, in order.

    pixels: uint8 (total, 3, S, S), the whole set, usually a memory map; numbers: int64 (N,),
    the images of it to attack, which also seed their random starts; labels: int64 (N,).
    """

    pixels: Pixels
    numbers: np.ndarray
    labels: np.ndarray

    def read(self, part: slice | np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images float32 (B, 3, S, S) in [0, 1] and labels (B,) of some targets, on `device`."""
        images = to_float_pixels(self.pixels[self.numbers[part]], device)
        return images, torch.from_numpy(self.labels[part]).to(device)

    def batches(self, size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """The same of all targets, `size` at a time, each read while the one before is used."""
        uploader = Uploader(device)

        def send(start: int) -> Sent:
            part = slice(start, start + size)
            return uploader.send(self.pixels[self.numbers[part]], self.labels[part])

        for sent in prefetch(send, range(0, len(self.labels), size), depth(self.pixels)):
            images, labels = uploader.receive(sent)
            yield scaled(images), labels


class Settings(NamedTuple):
    """The settings that all attacks share.

    norm, epsilon: the ball, epsilon in [0, 1] pixel units; at most `batch_size` images at once;
    `follow` bool (N,): images attacked to the end even when misclassified, by attacks that have a
    last iterate; the perturbations of the targets at the ascending positions `examples` are kept;
    `starts`: image number -> float32 (3, S, S), first perturbations to use instead of drawn
    ones, for comparison with another implementation; guard_band: margin in logits below which an
    image that the attack's own forward, in a lower precision, calls right is judged in float32;
    0 where that forward is float32 itself.
    """

    norm: Norm
    epsilon: float
    batch_size: int
    seed: int
    follow: np.ndarray
    examples: np.ndarray
    device: torch.device
    starts: Mapping[int, np.ndarray] | None = None
    guard_band: float = 0.0


class Outcome(NamedTuple):
    """What happened to each image, all of length N.

    fooled_at: int32, the first iterate (0 is the first start; restarts count on) that was
    misclassified, -1 if none; prediction, margin, confidence: int32 / float32 / float32 at that
    iterate, or at the last one if none; last_prediction: int32 at the last iterate for followed
    images, -1 for the others; zero_gradient: float32, share of pixels whose gradient is exactly
    zero at the start (NaN where the attack does not tell); perturbations: float32 (E, 3, S, S) of
    the `examples`, at the iterate of `prediction`; note: what was done otherwise than the name
    says, "" if nothing; judged: how many iterates were classified once more for a verdict;
    largest_difference: between the margins of the attack's own forward and of those verdicts.
    margin = logit of the label - largest other logit, of the classifier's texts; confidence, see
    `confidences`.
    """

    fooled_at: np.ndarray
    prediction: np.ndarray
    margin: np.ndarray
    confidence: np.ndarray
    last_prediction: np.ndarray
    zero_gradient: np.ndarray
    perturbations: np.ndarray
    note: str = ""
    judged: int = 0
    largest_difference: float = 0.0


Run = Callable[[Any, Targets, Any, Settings], Outcome]
"""`run` of an attack, or what stands in for it: (ZeroShotClassifier, Targets, checked Params,
Settings) -> Outcome."""


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) logit of the label minus the largest other logit."""
    label_logits = logits.gather(1, labels[:, None])[:, 0]
    return label_logits - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def confidences(logits: Tensor) -> Tensor:
    """float32 (B,) softmax probability of the predicted class, in [1 / C, 1]."""
    return logits.float().softmax(1).amax(1)


def empty_outcome(targets: Targets, settings: Settings) -> Outcome:
    """An outcome to be filled in: nothing misclassified, nothing predicted."""
    count = len(targets.labels)
    minus_one = np.full(count, -1, dtype=np.int32)
    return Outcome(
        fooled_at=minus_one.copy(),
        prediction=minus_one.copy(),
        margin=np.zeros(count, dtype=np.float32),
        confidence=np.zeros(count, dtype=np.float32),
        last_prediction=minus_one.copy(),
        zero_gradient=np.full(count, np.nan, dtype=np.float32),
        perturbations=np.zeros(
            (len(settings.examples), *targets.pixels.shape[1:]), dtype=np.float32
        ),
    )

"""`from saft import load, classify, attack, evaluate`: a trained model from Python.

Labels are names, filled into a template; or a mapping of names to a sentence of their own, or to
several, as many for each. Images are paths or PIL images, of any size and mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.common.errors import UserError
from pipeline.evaluation.clean_predictions import clean_predictions
from pipeline.evaluation.interface import Targets
from pipeline.results.statistics import Share, wilson
from saft.inference import attacking, classifying
from saft.inference.attacking import Attacked
from saft.inference.images import ImageLike, preprocessed, read, read_all
from saft.inference.label_arguments import LabelNames, labels_of, several
from saft.inference.labels import Labels, position
from saft.inference.models import Model, load

__all__ = ["Attack", "Classification", "Evaluation", "attack", "classify", "evaluate", "load"]


@dataclass(frozen=True)
class Classification:
    """N images and C labels. probabilities: float32 (N, C), rows sum to 1."""

    labels: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def predicted(self) -> list[str]:
        """The most likely label of each image."""
        return [self.labels[n] for n in self.probabilities.argmax(1)]


@dataclass(frozen=True)
class Attack(Attacked):
    """`Attacked` with the labels that its probabilities belong to. label: the image's own."""

    labels: tuple[str, ...]
    label: str

    @property
    def fooled(self) -> bool:
        """Whether an iterate was misclassified; also where the image was so without an attack."""
        return self.fooled_at >= 0


@dataclass(frozen=True)
class Evaluation:
    """N images. predicted: int (N,), the label's number without an attack; right: bool (N,);
    robust: bool (N,), right without an attack and at every iterate of PGD."""

    labels: tuple[str, ...]
    predicted: np.ndarray
    right: np.ndarray
    robust: np.ndarray

    @property
    def clean_accuracy(self) -> Share:
        """With its 95 % Wilson interval."""
        return wilson(int(self.right.sum()), len(self.right))

    @property
    def robust_accuracy(self) -> Share:
        """With its 95 % Wilson interval."""
        return wilson(int(self.robust.sum()), len(self.robust))


def classify(
    model: Model,
    images: ImageLike | Sequence[ImageLike],
    labels: LabelNames,
    *,
    template: str | Sequence[str] | None = None,
) -> Classification:
    """Zero-shot probabilities of images over labels.

    Args:
        template: a sentence with {} for the label, or several, whose mean feature classifies; None:
            "This is a photo of a {}". With sentences of the labels' own there is none.

    Raises:
        UserError: an image cannot be read, or labels or template are not what they should be.
    """
    known = labels_of(labels, template)
    pixels = preprocessed(read_all(images), model)
    whole = classifying.classifier(model, known)
    return Classification(_names(known), classifying.probabilities_of(whole, pixels))


def attack(
    model: Model,
    image: ImageLike,
    label: str,
    labels: LabelNames,
    *,
    template: str | Sequence[str] | None = None,
    epsilon_255: float = 4.0,
    steps: int = 100,
    step_255: float = 1.0,
    seed: int = 0,
) -> Attack:
    """PGD on one image, until it is misclassified.

    Args:
        label: of `labels`, what the image shows.
        epsilon_255, step_255: radius of the l-infinity ball and length of a step, in 1/255 of the
            pixel range.
        steps: ascents at most, from a random start that `seed` decides.

    Raises:
        UserError: the image cannot be read, the label is not in the list, or a number is out of its
            bounds.
    """
    allowed = attacking.budget(epsilon_255, steps, step_255, seed)
    known = labels_of(labels, template)
    number = position(label, known.classes)
    pixels = preprocessed([read(image)], model)[0]
    done = attacking.attacked(classifying.classifier(model, known), pixels, number, allowed)
    return Attack(**vars(done), labels=_names(known), label=_names(known)[number])


def evaluate(
    model: Model,
    images: Sequence[ImageLike],
    truth: Sequence[str],
    labels: LabelNames,
    *,
    template: str | Sequence[str] | None = None,
    epsilon_255: float = 4.0,
    steps: int = 100,
    step_255: float = 1.0,
    seed: int = 0,
) -> Evaluation:
    """Accuracy without and under PGD; for whole data sets, more attacks and a report: `saft
    evaluate`.

    Args:
        truth: of `labels`, what each image shows; the rest as in `attack`.

    Raises:
        UserError: see `attack`; or there are not as many images as labels of them.
    """
    allowed = attacking.budget(epsilon_255, steps, step_255, seed)
    known = labels_of(labels, template)
    pictures, of_images = read_all(images), several(truth, "truth")
    if len(pictures) != len(of_images):
        raise UserError(f"{len(pictures)} images, but {len(of_images)} labels of them in truth")
    numbers = np.array([position(label, known.classes) for label in of_images])
    pixels = preprocessed(pictures, model)
    whole = classifying.classifier(model, known)
    targets = Targets(pixels, np.arange(len(pixels)), numbers)
    clean = clean_predictions(whole, targets, classifying.BATCH, model.device)
    right = clean.prediction == numbers
    attacked = Targets(pixels, np.flatnonzero(right), numbers[right])
    robust = right.copy()
    robust[right] = attacking.run(whole, attacked, allowed).fooled_at < 0
    return Evaluation(_names(known), clean.prediction, right, robust)


def _names(known: Labels) -> tuple[str, ...]:
    return tuple(entry.name for entry in known.classes)

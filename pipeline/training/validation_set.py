"""The validation set of a training: opened, and checked to be one."""

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.progress import track
from pipeline.distributed.collectives import gather
from pipeline.distributed.ranks import Ranks, block
from pipeline.images.image_set import IMAGES, ImageSet, open_images
from pipeline.images.set_summary import read_summary
from pipeline.splits.even_choice import evenly_spaced
from pipeline.splits.shared_images import (
    candidates,
    digests,
    first_numbers,
    refusal,
    shared,
    source_of,
)
from pipeline.training.recipe import Recipe
from pipeline.training.validation import ValidationImages

KEY = "finetune.validation.dataset"
ROUND = 4096  # images that a rank reads from one exchange with the others to the next


def opened(
    recipe: Recipe, trained: ImageSet, ranks: Ranks, resumed: bool = False
) -> ValidationImages | None:
    """The images that the recipe validates on; None where it does not.

    Args:
        trained: the training set.
        resumed: whether a training of the same origins goes on: both sets are what they were when
            it began, and were compared then.

    Raises:
        UserError: the set is missing, empty or of another image size, a class of it is not trained
            on, or it shares an image with the training set.
    """
    if recipe.validation is None:
        return None
    name = recipe.validation.dataset
    if name == trained.name:
        raise UserError(f"params.yaml: {KEY}: '{name}' is the training set; choose another set")
    if not read_summary(IMAGES / name).images:
        raise UserError(f"params.yaml: {KEY}: set '{name}' has no image; choose another set")
    images = open_images(name)
    if images.pixels.shape[1:] != trained.pixels.shape[1:]:
        raise UserError(
            f"params.yaml: {KEY}: the images of set '{name}' have {images.pixels.shape[-1]} pixels "
            f"a side, those of '{trained.name}' {trained.pixels.shape[-1]}; prepare both alike"
        )
    labels = _trained_labels(images, trained)
    if not resumed:
        _check_apart(images, trained, ranks)
    numbers = evenly_spaced(len(labels), recipe.validation.images)
    return ValidationImages(images.pixels, labels, numbers)


def _trained_labels(images: ImageSet, trained: ImageSet) -> np.ndarray:
    """int64 (N,): the labels that the images have in the training set, by the ids of classes."""
    label_of: Mapping[str, int] = {c.class_id: label for label, c in enumerate(trained.classes)}
    for entry in images.classes:
        if entry.class_id not in label_of:
            raise UserError(
                f"params.yaml: {KEY}: class '{entry.class_id}' ({entry.name}) of set "
                f"'{images.name}' is not one of '{trained.name}', which is trained on; choose a "
                "set of the training classes"
            )
    table = np.array([label_of[entry.class_id] for entry in images.classes], dtype=np.int64)
    return table[images.labels]


def _check_apart(images: ImageSet, trained: ImageSet, ranks: Ranks) -> None:
    """Raise UserError, the same on every rank, if the sets share an image."""
    known = first_numbers(digests(images.pixels, candidates(images.pixels, trained.pixels)))
    if not known:
        return
    suspects = candidates(trained.pixels, images.pixels)
    trained_numbers = first_numbers(_shared(known, trained, suspects, ranks))
    if trained_numbers:
        digest, number = next(iter(trained_numbers.items()))
        sources = source_of(images.name, known[digest]), source_of(trained.name, number)
        told = images.name, trained.name, "which is trained on"
        raise UserError(refusal(KEY, *told, len(trained_numbers), sources))


def _shared(
    known: Mapping[bytes, int], trained: ImageSet, suspects: np.ndarray, ranks: Ranks
) -> Iterator[tuple[bytes, int]]:
    """(digest, number) of the training images `suspects` that are `known`, in their order, on every
    rank. Each reads a part of every round, so that none waits longer than a round for another."""
    starts = range(0, len(suspects), ROUND * ranks.size)
    for start in track(starts, "compare training and validation set", unit="round"):
        numbers = suspects[start : start + ROUND * ranks.size]
        part = shared(known, trained.pixels, numbers[block(len(numbers), ranks)])
        for shared_by_rank in gather(part, ranks):
            yield from shared_by_rank.items()

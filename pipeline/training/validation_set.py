"""The validation set of a training: opened, and checked to be one."""

from collections.abc import Mapping

import numpy as np

from pipeline.common.errors import UserError
from pipeline.distributed.collectives import gather
from pipeline.distributed.ranks import Ranks, block
from pipeline.images.image_set import IMAGES, ImageSet, open_images
from pipeline.images.set_summary import read_summary
from pipeline.splits.even_choice import evenly_spaced
from pipeline.splits.shared_images import (
    candidates,
    digests,
    refusal,
    shared_pair,
    source_of,
)
from pipeline.training.recipe import Recipe
from pipeline.training.validation import ValidationImages

KEY = "finetune.validation.dataset"


def opened(recipe: Recipe, trained: ImageSet, ranks: Ranks) -> ValidationImages | None:
    """The images that the recipe validates on; None where it does not.

    Args:
        trained: the training set.

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
    """Raise UserError, on every rank, if the sets share an image; each rank reads a part of the
    training set."""
    wanted = candidates(images.pixels, trained.pixels)
    known = dict(digests(images.pixels, wanted))
    suspects = candidates(trained.pixels, images.pixels)
    own = suspects[block(len(suspects), ranks)]
    pairs = gather(shared_pair(known, trained.pixels, own) if known else None, ranks)
    if pair := next(filter(None, pairs), None):
        sources = source_of(images.name, pair[1]), source_of(trained.name, pair[0])
        role = "which is trained on"
        raise UserError(refusal(KEY, images.name, trained.name, role, sources))

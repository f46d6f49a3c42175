"""CLIP features of an image set, and the mean of each class."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import (
    BROKEN,
    Clip,
    ImageEncoder,
    check_fit,
    image_encoder,
    to_float_pixels,
)
from pipeline.common.errors import UserError
from pipeline.common.finite import check_unit_norm
from pipeline.common.progress import track
from pipeline.images.image_set import ImageSet, open_images
from pipeline.images.streaming import Pixels, depth, prefetch

CHUNK = 4096


def sample_per_class(images: ImageSet, per_class: int | None) -> np.ndarray:
    """Image numbers, int64 in rising order: at most `per_class` of each class, evenly
    spaced; None: all.

    Raises:
        UserError: a class has no image.
    """
    numbers = []
    for label, class_entry in enumerate(images.classes):
        class_numbers = np.flatnonzero(images.labels == label)
        if not len(class_numbers):
            raise UserError(
                f"data/images/{images.name}: class '{class_entry.class_id}' has no image"
            )
        count = min(per_class or len(class_numbers), len(class_numbers))
        numbers.append(class_numbers[np.arange(count) * len(class_numbers) // count])
    return np.sort(np.concatenate(numbers))


class SetFeatures(NamedTuple):
    """Images of a set: their numbers and labels, int64 (M,), and unit-norm features, float32
    (M, D)."""

    images: ImageSet
    numbers: np.ndarray
    labels: np.ndarray
    features: Tensor


def set_features(
    model: Clip, dataset: str, per_class: int | None, device: torch.device
) -> SetFeatures:
    """Encode at most `per_class` images of each class of the packed set `dataset`; None: all.

    Raises:
        UserError: the set is missing, of another size than the model's, or lacks a class; or a
            feature is not finite or zero.
    """
    images = open_images(dataset)
    encoder = image_encoder(model)
    check_fit(encoder, images.pixels.shape[-1], encoder.visual.output_dim, dataset)
    numbers = sample_per_class(images, per_class)
    features = encode_images(encoder, images.pixels, numbers, device)
    check_unit_norm(
        features.numpy(), model.where, lambda row: f"image {numbers[row]} of {dataset}", BROKEN
    )
    return SetFeatures(images, numbers, images.labels[numbers], features)


@torch.no_grad()
def encode_images(
    encoder: ImageEncoder,
    pixels: Pixels,
    numbers: np.ndarray,
    device: torch.device,
    batch: int = 256,
) -> Tensor:
    """Unit-norm features (len(numbers), D), float32 on the CPU, of uint8 (N, 3, S, S) pixels."""
    encoder = encoder.to(device).eval()
    parts = [numbers[start : start + batch] for start in range(0, len(numbers), batch)]
    ahead = prefetch(lambda part: pixels[part], parts, depth(pixels))
    features = [
        encoder(to_float_pixels(images, device)).pooled.cpu()
        for _, images in zip(track(parts, "image features"), ahead, strict=True)
    ]
    return torch.cat(features)


def class_means(features: Tensor, labels: np.ndarray, classes: int) -> Tensor:
    """Unit-norm mean (C, D) of the unit-norm features (N, D) of each class."""
    sums = torch.zeros(classes, features.shape[1], dtype=torch.float64)
    label_tensor = torch.from_numpy(labels)
    for start in range(0, len(features), CHUNK):  # a copy in double precision of a part only
        part = slice(start, start + CHUNK)
        sums.index_add_(0, label_tensor[part], features[part].double())
    return F.normalize(sums, dim=-1).float()


def nearest_to_mean(
    features: Tensor, labels: np.ndarray, classes: int, count: int | None
) -> list[list[tuple[int, float]]]:
    """Per class the indices of the `count` features nearest to the class's mean (None: of all),
    best first (equal ones in their order), each with its cosine."""
    means = class_means(features, labels, classes)
    nearest = []
    for label in range(classes):
        class_numbers = np.flatnonzero(labels == label)
        similarities = (features[torch.from_numpy(class_numbers)] @ means[label]).numpy()
        order = np.argsort(-similarities, kind="stable")[:count]
        nearest.append([(int(class_numbers[index]), float(similarities[index])) for index in order])
    return nearest


def image_references(
    model: Clip, dataset: str, images_per_class: int | None, device: torch.device
) -> np.ndarray:
    """Unit-norm mean image feature of each class of a set, float32 (C, D)."""
    features = set_features(model, dataset, images_per_class, device)
    return class_means(features.features, features.labels, len(features.images.classes)).numpy()

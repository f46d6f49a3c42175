"""torchvision's readers as listings: its metadata parsing, this project's decoding."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.common.errors import UserError, first_line
from pipeline.images.classes import ClassEntry
from pipeline.images.decoding import Encoded
from pipeline.prepare.catalogue import CatalogueParams, Listing
from pipeline.prepare.folders import plain_name


def run_reader(open_reader: Callable[[], Any], title: str, root: Path) -> Any:
    """The data set that `open_reader` returns.

    Raises:
        UserError: in place of whatever torchvision raises on a damaged copy.
    """
    try:
        return open_reader()
    except Exception as error:  # unpickling, parsing and indexing all fail in their own ways
        # "Dataset not found. You can use download=True": an argument that params do not have
        reason = first_line(error).partition(". You can use download")[0]
        raise UserError(
            f"{root}: {title} cannot be read: {reason}; extract the archive again"
        ) from None


def from_arrays(
    classes: Sequence[ClassEntry], labels: Iterable[Any], images: np.ndarray, prefix: str
) -> Listing:
    """uint8 images (N, H, W, 3) in memory."""
    numbers = [int(label) for label in labels]
    if len(numbers) != len(images):
        raise UserError(
            f"{prefix}: there are {len(images)} images and {len(numbers)} labels; extract the "
            "archive again"
        )
    sources = [f"{prefix}/{i}" for i in range(len(numbers))]
    return Listing(classes, numbers, sources, read=lambda i: Image.fromarray(images[i]))


def from_files(
    classes: Sequence[ClassEntry], labels: Iterable[Any], files: Iterable[Any], root: Path
) -> Listing:
    """Image files below `root`, in the order of their paths (torchvision's own order is
    sometimes that of the file system)."""
    pairs = sorted(zip(map(Path, files), map(int, labels), strict=True))
    sources = [path.relative_to(root).as_posix() for path, _ in pairs]
    return Listing(
        classes, [label for _, label in pairs], sources, [Encoded(path) for path, _ in pairs]
    )


def class_entries(
    names: Iterable[str], clean: Callable[[str], str] = plain_name
) -> list[ClassEntry]:
    """Classes whose id is the data set's name for them."""
    return [ClassEntry(name, clean(name)) for name in names]


def batches(reader: Any, title: str) -> Callable[[Path, str, CatalogueParams], Listing]:
    """The listing of CIFAR's pickled batches; `reader` is torchvision's class for them."""

    def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
        dataset = run_reader(lambda: reader(root, train=split == "train"), title, root)
        return from_arrays(class_entries(dataset.classes), dataset.targets, dataset.data, split)

    return listing

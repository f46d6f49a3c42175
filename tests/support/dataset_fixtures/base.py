"""What all writers share: pictures, files, checksums, and what a test expects to find."""

import hashlib
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.images.image_set import ImageSource
from pipeline.prepare import download

Pairs = list[tuple[Image.Image, str]]
# (width, height), for sets without a fixed one; two of them show how torchvision rounds
SHAPES = ((41, 30), (30, 41), (33, 33), (29, 51))


@dataclass(frozen=True)
class Miniature:
    """A data set of a few images on disk, and what its entry has to make of it, in order.

    labels, sources, pictures: one per image, pictures as PIL reads them, RGB; changes: params
    besides source and size; reference: (picture, class id) of every image by torchvision alone.
    """

    source: str
    split: str
    ids: Sequence[str]
    names: Sequence[str]
    labels: Sequence[int]
    sources: Sequence[str]
    pictures: Sequence[Image.Image]
    changes: dict[str, Any] = field(default_factory=dict)
    reference: Callable[[], Pairs] | None = None


def noise(seed: int, width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3), smooth enough to survive JPEG."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, size=(4, 5, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def photos(
    root: Path, sources: Sequence[str], side: int | None = None, kind: str | None = None
) -> list[Image.Image]:
    """Write a picture for each path below `root`, last one first, and read them as PIL does.

    Args:
        side: width and height, None for different shapes.
        kind: a format that the file's name does not tell.
    """
    pictures = {}
    for number, source in reversed(list(enumerate(sources))):
        shape = (side, side) if side else SHAPES[number % len(SHAPES)]
        file = root / source
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(len(source) * 1000 + number, *shape)).save(file, kind)
        with Image.open(file) as picture:
            pictures[source] = picture.convert("RGB")
    return [pictures[source] for source in sources]


def write(root: Path, name: str, *lines: str) -> None:
    """A text file below `root`."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(f"{line}\n" for line in lines))


def md5(path: Path) -> str:
    """Checksum of a file, as torchvision compares it."""
    return hashlib.md5(path.read_bytes()).hexdigest()


def by_label(labels: Sequence[int]) -> list[int]:
    """Image numbers in the order of a set: class by class."""
    return sorted(range(len(labels)), key=lambda number: labels[number])


def enter_project(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Make an empty project current; the data root below `folder` that its entries look in.
    Whatever wants to download fails."""

    def offline(*_: object) -> None:
        raise AssertionError("a test wants to download something")

    (folder / "project").mkdir()
    (folder / "raw").mkdir()
    patch.chdir(folder / "project")
    patch.delenv("DVC_ROOT", raising=False)
    patch.setenv("SAFT_DATA", str(folder / "raw"))
    patch.setattr(download, "urlopen", offline)
    patch.setattr("urllib.request.urlopen", offline)
    return folder / "raw"


def open_set(source: str, **changes: object) -> ImageSource:
    """What the entry makes of params; `partial`, unless told otherwise."""
    module = registry.load("pipeline.datasets", source, "test")
    values = {"source": source, "size": 224, "partial": True}
    return module.open_source(module.Params.model_validate(values | changes))


def open_miniature(miniature: Miniature, **changes: object) -> ImageSource:
    """What its entry makes of a miniature."""
    return open_set(
        miniature.source, **({"split": miniature.split} | miniature.changes | dict(changes))
    )


def shuffle_disk(patch: pytest.MonkeyPatch, seed: int) -> None:
    """Let every folder list its entries in another order."""
    listdir, scandir = os.listdir, os.scandir

    def shuffled(listing: Iterator[Any]) -> list[Any]:
        entries = sorted(listing, key=str)
        random.Random(seed).shuffle(entries)
        return entries

    class Scan(SimpleNamespace):
        def __enter__(self) -> Iterator[Any]:
            return iter(self)

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self) -> Iterator[Any]:
            return iter(self.entries)

        def __next__(self) -> Any:  # os.walk calls next() on what scandir gave
            if not self.entries:
                raise StopIteration
            return self.entries.pop(0)

        def close(self) -> None:
            pass

    def scan(path: Any = ".") -> Scan:
        with scandir(path) as listing:
            return Scan(entries=shuffled(listing))

    patch.setattr(os, "listdir", lambda path=".": shuffled(iter(listdir(path))))
    patch.setattr(os, "scandir", scan)


def refused(miniature: Miniature, **changes: object) -> str:
    """The one line with which a miniature is refused."""
    return _message(lambda: open_miniature(miniature, **changes))


def not_opened(source: str, **changes: object) -> str:
    """The one line with which the set of a source is refused."""
    return _message(lambda: open_set(source, **changes))


def _message(opening: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        opening()
    assert "\n" not in str(caught.value)
    return str(caught.value)

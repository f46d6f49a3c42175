"""Listings of class folders, and lines of text files."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.common.text_files import read_text
from pipeline.images.classes import ClassEntry
from pipeline.images.decoding import Encoded
from pipeline.prepare.catalogue import Listing
from pipeline.prepare.walking import images_of


def plain_name(class_id: str) -> str:
    """An id as words: `_`, `-` and `/` become spaces, as the reference reads class names."""
    return " ".join(class_id.replace("_", " ").replace("-", " ").replace("/", " ").split())


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file; see `read_text`."""
    return read_text(path).split("\n")


def listing_of(
    folder: Path, root: Path, classes: Sequence[ClassEntry], names: Sequence[str] | None = None
) -> Listing:
    """The images of the class folders in `folder`, one per class; sources are below `root`.

    Args:
        names: the folders' names, where they are not the class ids.
    """
    folder_names = names or [class_entry.class_id for class_entry in classes]
    of_classes, left_out = images_of(folder, folder_names)
    labels = [label for label, paths in enumerate(of_classes) for _ in paths]
    files = [path for paths in of_classes for path in paths]
    sources = [path.relative_to(root).as_posix() for path in files]
    encoded = [Encoded(path) for path in files]
    return Listing(classes, labels, sources, encoded, left_out=left_out)

"""Class folders and class name tables on disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.text_files import read_text
from pipeline.images.classes import ClassEntry
from pipeline.images.decoding import ENDINGS, Encoded
from pipeline.images.image_set import check_name
from pipeline.prepare.catalogue import Listing

STRAY = ("__MACOSX",)  # folders that archivers leave behind


def plain_name(class_id: str) -> str:
    """An id as words: `_`, `-` and `/` become spaces, as the reference reads class names."""
    return " ".join(class_id.replace("_", " ").replace("-", " ").replace("/", " ").split())


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, sorted, hidden ones left out.

    Raises:
        UserError: no folder, fewer than two in it, or a name that is not UTF-8.
    """
    check_folder(root)
    names = sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in STRAY
    )
    for name in names:
        check_name(name, str(root))
    if len(names) < 2:
        raise UserError(
            f"{root}: holds {len(names)} class folders; is it the folder *of* class folders?"
        )
    return names


def files_of(folder: Path) -> list[Path]:
    """The image files below a class folder, sorted by path, hidden ones left out.

    Raises:
        UserError: there is none.
    """
    paths = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(parent, name) for name in (*names, *folders) if _is_image(name)]
    if not paths:
        raise UserError(f"{folder}: class '{folder.name}' has no image")
    return sorted(paths)


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in ENDINGS and not name.startswith(".")


def check_folder(path: Path) -> None:
    """Raise UserError unless `path` is a folder."""
    if not path.is_dir():
        raise UserError(f"{path}: is no folder; extract the archive again")


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
    files, labels = [], []
    for label, name in enumerate(names or [class_entry.class_id for class_entry in classes]):
        class_files = files_of(folder / name)
        files += class_files
        labels += [label] * len(class_files)
    sources = [path.relative_to(root).as_posix() for path in files]
    return Listing(classes, labels, sources, [Encoded(path) for path in files])

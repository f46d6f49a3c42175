"""Folders as programs and people leave them: what in them is a class folder or an image."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.images.decoding import ENDINGS
from pipeline.images.image_set import check_name

# what archivers, file servers, systems and Python leave behind, in lower case
STRAY_FOLDERS = frozenset({
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp",
    "$recycle.bin", "recycler", "system volume information", "lost+found", "found.000",
    "network trash folder", "temporary items", "__pycache__",
})  # fmt: skip
TABLES = (".csv", ".tsv")  # endings of tables of labels


def is_stray(name: str) -> bool:
    """Whether a folder of that name is hidden or one that programs leave behind."""
    return name.startswith(".") or name.lower() in STRAY_FOLDERS


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted, without those that programs leave behind."""
    entries = scan(folder)
    return sorted(entry.name for entry in entries if is_folder(entry) and not is_stray(entry.name))


def image_names(folder: Path) -> list[str]:
    """Names of the image files in `folder` itself, by their endings, sorted, hidden ones left
    out."""
    return sorted(
        entry.name
        for entry in scan(folder)
        if has_image_ending(entry.name) and not is_folder(entry)
    )


def class_folders(root: Path) -> list[str]:
    """Names of the folders in `root`, sorted, hidden ones left out.

    Raises:
        UserError: no folder, fewer than two in it, or a name that is not UTF-8.
    """
    check_folder(root)
    names = subfolders(root)
    for name in names:
        check_name(name, str(root))
    if len(names) < 2:
        raise UserError(
            f"{root}: holds {len(names)} class folders; {_expected_layout(root, names)}"
        )
    return names


def _expected_layout(root: Path, names: Sequence[str]) -> str:
    """What to do with a folder that holds at most one folder."""
    question = "is it the folder *of* class folders?"
    if names and (below := len(subfolders(root / names[0]))) > 1:
        return f"{question} {root / names[0]} holds {below}"
    files = sorted(entry.name for entry in scan(root) if not is_folder(entry))
    images = image_names(root)
    if not images:
        return question
    tables = [name for name in files if ending_of(name) in TABLES and name != "classes.tsv"]
    listing = f"; if {tables[0]} has the label of each, set labels: {tables[0]}" if tables else ""
    return (
        f"its {len(images)} images ({images[0]}) have to be in one folder per class, "
        f"{root.name}/<class id>/{images[0]}{listing}"
    )


def check_folder(path: Path) -> None:
    """Raise UserError unless `path` is a folder."""
    if not path.is_dir():
        raise UserError(f"{path}: is no folder; extract the archive again")


def has_image_ending(name: str) -> bool:
    return ending_of(name) in ENDINGS and not name.startswith(".")


def ending_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def scan(folder: str | Path) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {(error.strerror or '').lower()}") from None

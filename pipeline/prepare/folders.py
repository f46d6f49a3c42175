"""Class folders and class name tables on disk."""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.text_files import one_form, read_text, spelled_as
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


def ids_of_folders(names: Sequence[str], root: Path) -> tuple[dict[str, str], list[str]]:
    """Class id -> its folder in `root`, sorted by id; and what to say of names that are no ids.

    An id is the folder's name in NFC, so that a folder that macOS named is the same class.

    Raises:
        UserError: two folders have the same name but for its form.
    """
    folder_of: dict[str, str] = {}
    for name in names:
        class_id = unicodedata.normalize("NFC", name)
        if class_id in folder_of:
            raise UserError(
                f"{root}: two folders are called '{class_id}', one of them in decomposed Unicode, "
                "as macOS writes it; merge them"
            )
        folder_of[class_id] = name
    decomposed = [class_id for class_id, name in folder_of.items() if name != class_id]
    notes = [
        f"{len(decomposed)} folder names are in decomposed Unicode (NFD), as macOS writes them, "
        f"e.g. '{class_id}'; the class ids are in NFC"
        for class_id in decomposed[:1]
    ]
    return dict(sorted(folder_of.items())), notes


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


def read_class_table(path: Path, required: object) -> dict[str, ClassEntry]:
    """Class id -> its entry in a classes.tsv; {} where it is not there and not `required`.

    id<TAB>name per line, under an optional header line that begins with "id" or "class_id"; under
    "id<TAB>name<TAB>gloss" also what the class means, which may be empty. Spaces around an id or
    a name are none of it, and a no-break space is a space.
    """
    if not path.is_file():
        if required:
            raise UserError(f"{path}: not found (names)")
        return {}
    entries: dict[str, ClassEntry] = {}
    has_gloss = False
    for number, line in enumerate(read_lines(path), 1):
        class_id, *fields = [field.strip() for field in line.split("\t")]
        if number == 1 and class_id in ("id", "class_id"):
            has_gloss = fields[1:] == ["gloss"]
            continue
        if not line.strip():
            continue
        if not class_id or not fields or not fields[0]:
            raise UserError(f"{path}: line {number}: expected id<TAB>name")
        if class_id in entries:
            raise UserError(f"{path}: line {number}: class id '{class_id}' occurs twice")
        gloss = one_form("".join(fields[1:2])) if has_gloss else ""
        entries[class_id] = ClassEntry(class_id, one_form(fields[0]), gloss)
    return entries


def by_folder_ids(
    table: Mapping[str, ClassEntry], class_ids: Sequence[str], path: Path
) -> tuple[dict[str, ClassEntry], list[str]]:
    """A class table by the ids that the folders have; and what to say of ids that differ from
    theirs in form alone, which nobody sees.

    Raises:
        UserError: two ids of the table are one but for their form.
    """
    entries: dict[str, ClassEntry] = {}
    other_form = []
    for class_id, written in zip(spelled_as(table, class_ids), table, strict=True):
        if class_id in entries:
            raise UserError(
                f"{path}: class id '{class_id}' occurs twice, in different Unicode forms or with "
                "other spaces; keep one"
            )
        entries[class_id] = replace(table[written], class_id=class_id)
        other_form += [class_id] * (class_id != written)
    notes = [
        f"{path.name}: {len(other_form)} class ids differ from their folders in form alone "
        f"(composed or decomposed Unicode, spaces), e.g. '{class_id}'; taken for the same"
        for class_id in other_form[:1]
    ]
    return entries, notes

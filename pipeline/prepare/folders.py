"""Listings of class folders, and class name tables on disk."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.images.classes import ClassEntry
from pipeline.images.decoding import Encoded
from pipeline.prepare.catalogue import Listing
from pipeline.prepare.walking import images_of


def plain_name(class_id: str) -> str:
    """An id as words: `_`, `-` and `/` become spaces, as the reference reads class names."""
    return " ".join(class_id.replace("_", " ").replace("-", " ").replace("/", " ").split())


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file.

    Raises:
        UserError: it is something else.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it as UTF-8") from None


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


def read_class_table(path: Path, required: object) -> dict[str, ClassEntry]:
    """Class id -> its entry in a classes.tsv; {} where it is not there and not `required`.

    id<TAB>name per line, under an optional header line that begins with "id" or "class_id"; under
    "id<TAB>name<TAB>gloss" also what the class means, which may be empty.
    """
    if not path.is_file():
        if required:
            raise UserError(f"{path}: not found (names)")
        return {}
    entries: dict[str, ClassEntry] = {}
    has_gloss = False
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t")
        if number == 1 and fields[0] in ("id", "class_id"):
            has_gloss = [field.strip() for field in fields[2:]] == ["gloss"]
            continue
        if not line.strip():
            continue
        if len(fields) < 2 or not fields[1].strip():
            raise UserError(f"{path}: line {number}: expected id<TAB>name")
        if fields[0] in entries:
            raise UserError(f"{path}: line {number}: class id '{fields[0]}' occurs twice")
        gloss = " ".join("".join(fields[2:3]).split()) if has_gloss else ""
        entries[fields[0]] = ClassEntry(fields[0], fields[1].strip(), gloss)
    return entries

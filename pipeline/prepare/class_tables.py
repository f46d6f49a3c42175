"""classes.tsv, and the class folders that it names, without what nobody sees in either."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.text_files import one_form, spelled_as
from pipeline.images.classes import ClassEntry
from pipeline.prepare.folders import read_lines


def ids_of_folders(names: Sequence[str], root: Path) -> tuple[dict[str, str], list[str]]:
    """Class id -> its folder in `root`, sorted by id; and what to note of names that are no ids.

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

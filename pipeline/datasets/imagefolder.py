"""A folder of class folders: <root>/<class_id>/**/*.jpg, with an optional classes.tsv.

The folder's name is the class id. `classes.tsv` (tab separated, "id<TAB>name" per line, a
header line "id<TAB>name" or "class_id<TAB>name" allowed) gives the names for prompts; without
it `display_names` says what to make of the id. Under the header line
"id<TAB>name<TAB>gloss" it also says what a class means, for the questions to a language model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pipeline.common.bounds import Count, CountOrZero, PathText, Side
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.images.classes import ClassEntry
from pipeline.images.data_root import ROOT_VARIABLE, locate
from pipeline.images.decoding import Decoded, Encoded, Resize, decode
from pipeline.images.image_set import FileSource, ImageSource, SourceImage
from pipeline.prepare.class_tables import by_folder_ids, ids_of_folders, read_class_table
from pipeline.prepare.directories import class_folders
from pipeline.prepare.display_names import DisplayNames, case_note, id_note, named
from pipeline.prepare.folder_level import level_notes
from pipeline.prepare.label_table import read_label_table
from pipeline.prepare.selection import sample_images, select_classes
from pipeline.prepare.walking import LeftOut, images_of


class Params(Section):
    """`prepare.sets.<set>` with `source: imagefolder`."""

    source: Literal["imagefolder"]
    root: PathText
    """Folder of class folders, below the data root ($SAFT_DATA, data.root or data/raw)."""
    labels: PathText | None = None
    """Table below `root`, such as metadata.csv, with the file and the label of every image, of a
    folder without class folders (`prepare/label_table.py`); null: the folders are the classes."""
    names: PathText | None
    """Path of classes.tsv, found like `root`; null: <root>/classes.tsv if it exists."""
    display_names: DisplayNames = "id"
    """Names of the classes that no classes.tsv names. id: the folder's name with `_` and `-` read
    as spaces; wordnet, openai: those that source imagenet has for the wnid it begins with;
    after_id: what stands behind a number or a wnid ("001.Black_footed_Albatross")."""
    classes: list[str] | str | None
    """Ids to keep, in this order; "a:b" keeps that slice of the sorted ids; null: all."""
    images_per_class: Count | None
    """At most this many per class, a sample fixed by the class id; null: all."""
    skip: CountOrZero
    """Leave out this many files of each class first (for disjoint sets of one folder)."""
    size: Side
    """Side of the square images, in pixels."""
    resize: Resize
    """stretch: to size x size; crop: shorter side to `size * 8 / 7` (256 for 224), centre crop;
    native: as they are, `size` pixels each."""
    stream: bool = False
    """true: decode at each use instead of packing once; for sets that are too large."""


def open_source(params: Params) -> ImageSource:
    """List the folder; nothing is decoded yet.

    Raises:
        UserError: the folder is missing or has no class folders, a chosen class is absent
            or empty, or classes.tsv repeats an id or names a class that has no folder.
    """
    root = locate(params.root)
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder (root: '{params.root}'); put the images there, or set "
            f"{ROOT_VARIABLE} or data.root"
        )
    images = _labelled(root, params) if params.labels else _in_folders(root, params)
    ids, files = list(images.files_of), [file for of in images.files_of.values() for file in of]
    labels = [label for label, of in enumerate(images.files_of.values()) for _ in of]
    numbers = sample_images(labels, ids, ids, params.skip, params.images_per_class, str(root))
    items = [SourceImage(labels[i], files[i].relative_to(root).as_posix()) for i in numbers]
    encoded = [Encoded(files[i]) for i in numbers]

    def pixels(index: int) -> Decoded:
        return decode(encoded[index], params.size, params.resize)

    classes, notes = _classes(ids, images.table, params, root)
    source = FileSource(params.root, encoded, params.resize)
    return ImageSource(
        classes, items, params.size, pixels, (), source, params.stream, images.left_out,
        [*images.notes, *notes],
    )  # fmt: skip


class _Images(NamedTuple):
    """files_of: the image files of each chosen class; table: classes.tsv by class id."""

    files_of: dict[str, list[Path]]
    left_out: LeftOut
    table: dict[str, ClassEntry]
    notes: list[str]


def _in_folders(root: Path, params: Params) -> _Images:
    folder_of, notes = ids_of_folders(class_folders(root), root)
    ids = select_classes(list(folder_of), params.classes, str(root))
    table, table_notes = _class_table(root, params, list(folder_of), "folder")
    folders = [folder_of[class_id] for class_id in ids]
    notes += [*table_notes, *level_notes(root, folders, params.root)]
    files, left_out = images_of(root, folders)
    return _Images(dict(zip(ids, files, strict=True)), left_out, table, notes)


def _labelled(root: Path, params: Params) -> _Images:
    assert params.labels is not None
    if not (root / params.labels).absolute().parent.is_relative_to(root.absolute()) or (
        ".." in Path(params.labels).parts
    ):
        raise UserError(f"labels: '{params.labels}' is not below {root}; put the table there")
    files_of, left_out = read_label_table(root / params.labels)
    ids = select_classes(list(files_of), params.classes, str(root / params.labels))
    table, notes = _class_table(root, params, list(files_of), "image")
    return _Images({class_id: files_of[class_id] for class_id in ids}, left_out, table, notes)


def _class_table(
    root: Path, params: Params, class_ids: Sequence[str], what: str
) -> tuple[dict[str, ClassEntry], list[str]]:
    """classes.tsv by the ids of all classes there, and what to say of it.

    Args:
        what: a class has one of.
    """
    path = locate(params.names) if params.names else root / "classes.tsv"
    table, notes = by_folder_ids(read_class_table(path, params.names), class_ids, path)
    if params.names is None and set(table) - set(class_ids):  # a table of its own must fit
        stray = sorted(set(table) - set(class_ids))
        raise UserError(
            f"{path}: class '{stray[0]}' has no {what} ({len(stray)} in all); "
            "the archive may be half extracted"
        )
    if table and not set(table) & set(class_ids):
        raise UserError(
            f"{path}: none of its {len(table)} class ids is a {what} of {root}, e.g. "
            f"'{next(iter(table))}'; its first column has to hold the {what}s' names"
        )
    return table, notes


def _classes(
    ids: Sequence[str], table: Mapping[str, ClassEntry], params: Params, root: Path
) -> tuple[list[ClassEntry], list[str]]:
    """The classes with their names, and what to say of those."""
    unnamed = [class_id for class_id in ids if class_id not in table]
    others = {e.class_id: e for e in named(unnamed, params.display_names, root)}
    classes = [table.get(class_id) or others[class_id] for class_id in ids]
    return classes, [*id_note([e.name for e in others.values()]), *case_note(ids)]

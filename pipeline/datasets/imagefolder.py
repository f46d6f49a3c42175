"""A folder of class folders: <root>/<class_id>/**/*.jpg, with an optional classes.tsv.

The folder's name is the class id. `classes.tsv` (tab separated, "id<TAB>name" per line, a
header line "id<TAB>name" or "class_id<TAB>name" allowed) gives the names for prompts; without
it the name is the id with `_` and `-` read as spaces. Under the header line
"id<TAB>name<TAB>gloss" it also says what a class means, for the questions to a language model.
"""

from typing import Literal

from pipeline.common.bounds import Count, CountOrZero, Side
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.images.classes import ClassEntry
from pipeline.images.data_root import ROOT_VARIABLE, locate
from pipeline.images.decoding import Decoded, Encoded, Resize, decode
from pipeline.images.image_set import FileSource, ImageSource, SourceImage
from pipeline.prepare.folders import (
    by_folder_ids,
    class_folders,
    files_of,
    ids_of_folders,
    plain_name,
    read_class_table,
)
from pipeline.prepare.selection import sample_images, select_classes


class Params(Section):
    """`prepare.sets.<set>` with `source: imagefolder`."""

    source: Literal["imagefolder"]
    root: str
    """Folder of class folders, below the data root ($SAFT_DATA, data.root or data/raw)."""
    names: str | None
    """Path of classes.tsv, found like `root`; null: <root>/classes.tsv if it exists."""
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
    folder_of, notes = ids_of_folders(class_folders(root), root)
    ids = select_classes(list(folder_of), params.classes, str(root))
    table_file = locate(params.names) if params.names else root / "classes.tsv"
    entries = read_class_table(table_file, params.names)
    table, table_notes = by_folder_ids(entries, list(folder_of), table_file)
    if params.names is None and set(table) - set(folder_of):  # a table of its own must fit
        stray = sorted(set(table) - set(folder_of))
        raise UserError(
            f"{root / 'classes.tsv'}: class '{stray[0]}' has no folder ({len(stray)} in all); "
            "the archive may be half extracted"
        )
    if table and not set(table) & set(folder_of):
        raise UserError(
            f"{table_file}: none of its {len(table)} class ids is a folder of {root}, e.g. "
            f"'{next(iter(table))}'; its first column has to hold the folders' names"
        )
    files, labels = [], []
    for label, class_id in enumerate(ids):
        class_files = files_of(root / folder_of[class_id])
        files += class_files
        labels += [label] * len(class_files)
    numbers = sample_images(labels, ids, ids, params.skip, params.images_per_class, str(root))
    items = [SourceImage(labels[i], files[i].relative_to(root).as_posix()) for i in numbers]
    encoded = [Encoded(files[i]) for i in numbers]

    def pixels(index: int) -> Decoded:
        return decode(encoded[index], params.size, params.resize)

    classes = [table.get(i, ClassEntry(i, plain_name(i))) for i in ids]
    source = FileSource(params.root, encoded, params.resize)
    return ImageSource(
        classes, items, params.size, pixels, (), source, params.stream,
        notes=[*notes, *table_notes],
    )  # fmt: skip

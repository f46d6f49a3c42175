"""A folder of images without class folders, and a table that has the label of each.

    file_name,label        the header: a column for files, one for labels, others as they like
    img/0001.jpg,cat       relative to the folder of the table; the label is the class id
    "0002",dog             an ending may be missing

Commas, semicolons or tabs; UTF-8, with or without a byte-order mark.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipeline.common.errors import UserError, listed
from pipeline.common.text_files import one_form, read_text
from pipeline.prepare.directories import image_names
from pipeline.prepare.walking import LeftOut

FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_name", "path", "id")
LABEL_COLUMNS = ("label", "class", "class_id", "class_name", "category", "breed", "species")
Listings = dict[Path, dict[str, str]]  # by folder, see `_names_of`
UNLISTED = "images that the table of labels does not list"


def read_label_table(path: Path) -> tuple[dict[str, list[Path]], LeftOut]:
    """Class id -> its image files, both sorted; and the images beside the table that it lacks.

    Raises:
        UserError: the table is missing or malformed, or lists a file that is not there, is
            elsewhere or has been listed.
    """
    root, files_of, lines = path.parent, dict[str, list[Path]](), dict[Path, int]()
    names_in: Listings = {}
    for number, name, label in _rows(path):
        where = f"{path}: line {number}"
        file = _file(root, name, names_in, where)
        if file in lines:
            raise UserError(f"{where}: '{name}' has a label in line {lines[file]} already")
        lines[file] = number
        files_of.setdefault(label, []).append(file)
    folders = sorted({file.parent for file in lines})
    there = [folder / name for folder in folders for name in image_names(folder)]
    unlisted = [file.relative_to(root).as_posix() for file in there if file not in lines]
    left_out = {UNLISTED: unlisted} if unlisted else {}
    return {label: sorted(files_of[label]) for label in sorted(files_of)}, left_out


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, file, label) of every row."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found (labels)") from None
    first_line = text.partition("\n")[0]
    delimiter = max("\t;,", key=first_line.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    try:
        header = [field.strip().lower() for field in next(reader, [])]
        columns = [_column(header, names, path) for names in (FILE_COLUMNS, LABEL_COLUMNS)]
        for row in reader:
            if not any(row):
                continue
            file, label = (row[i].strip() if i < len(row) else "" for i in columns)
            if not file or not label:
                raise UserError(f"{path}: line {reader.line_num}: expected a file and a label")
            yield reader.line_num, file, one_form(label)
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from None


def _column(header: Sequence[str], names: Sequence[str], path: Path) -> int:
    """Where the first of `names` that the header has stands."""
    for name in names:
        if name in header:
            return header.index(name)
    raise UserError(
        f"{path}: its first line has no column {' or '.join(names[:3])}, only "
        f"{listed(header, 5)}; rename one"
    )


def _file(root: Path, name: str, names_in: Listings, where: str) -> Path:
    """The file that a row means: as it is written, else in another Unicode form, else with an
    ending."""
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts:
        raise UserError(f"{where}: '{name}' is not below {root}; write paths relative to it")
    file = root / relative
    if file.is_file():
        return file
    if file.parent not in names_in:
        names_in[file.parent] = _names_of(file.parent)
    there = names_in[file.parent].get(one_form(file.name))
    if there is None:
        raise UserError(f"{where}: '{name}' is not in {root}")
    return file.with_name(there)


def _names_of(folder: Path) -> dict[str, str]:
    """The images in `folder` by their names in one form, with and without an ending."""
    names = image_names(folder) if folder.is_dir() else []
    whole = {one_form(name): name for name in names}
    return {one_form(Path(name).stem): name for name in names} | whole

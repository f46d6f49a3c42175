"""WebDataset shards in the CLIP-benchmark layout, as many public evaluation sets are offered.

    <root>/classnames.txt                       one class per line, in label order
    <root>/zeroshot_classification_templates.txt one template per line, {c} is the class name
    <root>/<split>/nshards.txt                  number of shards
    <root>/<split>/0.tar, 1.tar, ...            members <key>.<image ending> and <key>.cls,
                                                see `pipeline.prepare.tar_shards`
The shards are read in place: prepare takes each image out of its tar by offset, and `stream`
leaves them there for good. `root: hf:<organisation>/<name>` is a data set of the Hugging Face
hub, fetched once (data.download: true) and checked against the hub's sha256.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipeline.common.bounds import Count, CountOrZero, PathText, Side
from pipeline.common.errors import UserError, listed
from pipeline.common.params import Section
from pipeline.common.plain_values import shown
from pipeline.common.text_files import one_form, read_text
from pipeline.images.classes import ClassEntry
from pipeline.images.data_root import locate
from pipeline.images.decoding import Decoded, Resize, decode
from pipeline.images.image_set import FileSource, ImageSource, SourceImage
from pipeline.prepare.display_names import id_note
from pipeline.prepare.folders import read_lines
from pipeline.prepare.hub_shards import HUB, fetch, folder_of
from pipeline.prepare.selection import sample_images, select_classes, without_images
from pipeline.prepare.tar_shards import read_shard

SHOWN = 5  # classes without an image that a remark names


class Params(Section):
    """`prepare.sets.<set>` with `source: webdataset`."""

    source: Literal["webdataset"]
    root: PathText
    """Folder below the data root, or hf:<organisation>/<name> of the Hugging Face hub."""
    split: PathText
    """Folder of the shards, usually test."""
    size: Side
    """Side of the square images, in pixels."""
    resize: Resize
    """stretch: to size x size; crop: shorter side to `size * 8 / 7` (256 for 224), centre crop;
    native: as they are, `size` pixels each."""
    classes: list[str] | str | None = None
    """Ids (labels as strings) to keep, in this order; "a:b" keeps a slice; null: all."""
    images_per_class: Count | None = None
    """At most this many per class, a sample fixed by the class id; null: all."""
    skip: CountOrZero = 0
    """Leave out this many images of each class first (for disjoint sets of one split)."""
    stream: bool = False
    """true: decode at each use, out of the shards, instead of packing once."""
    partial: bool = False
    """true: take the shards that are there, as a first try; a class of which they hold no image
    stays among the classes to choose from, as a distractor."""


def open_source(params: Params) -> ImageSource:
    """Index the shards; nothing is decoded yet. A class's id is its label: "0", "1", ...

    Raises:
        UserError: a file of the layout is missing or damaged, or an image has no class.
    """
    root = params.root
    if root.startswith(HUB):
        root = folder_of(root) if has_some(params) else fetch(root, params.split)
    folder = locate(root)
    names = _names(folder / "classnames.txt")
    shards = [read_shard(p, names) for p in _shards(folder / params.split, params.partial)]
    images = [image for shard in shards for image in shard.images]
    ids, labels = [str(label) for label in range(len(names))], [image.label for image in images]
    class_ids = select_classes(ids, params.classes, str(folder))
    absent = without_images(labels, ids, class_ids)
    if absent and not params.partial:
        raise UserError(
            f"{folder}: class '{absent[0]}' has no image; with partial: true such classes stay, as "
            f"distractors ({len(absent)} in all)"
        )
    numbers = sample_images(
        labels,
        ids,
        [class_id for class_id in class_ids if class_id not in absent],
        params.skip,
        params.images_per_class,
        str(folder),
    )
    label_of = {int(class_id): label for label, class_id in enumerate(class_ids)}
    items = [SourceImage(label_of[labels[i]], images[i].source) for i in numbers]
    encoded = [images[i].file for i in numbers]
    left_out: dict[str, list[str]] = defaultdict(list)
    for shard in shards:
        for reason, members in shard.left_out.items():
            left_out[reason] += members

    def pixels(index: int) -> Decoded:
        return decode(encoded[index], params.size, params.resize)

    return ImageSource(
        [ClassEntry(class_id, names[int(class_id)]) for class_id in class_ids],
        items,
        params.size,
        pixels,
        _templates(folder / "zeroshot_classification_templates.txt"),
        FileSource(root, encoded, params.resize),
        params.stream,
        left_out,
        [
            *_distractors([names[int(class_id)] for class_id in absent], len(class_ids)),
            *id_note(names, "classnames.txt has to hold names"),
        ],
        distractors=params.partial,
    )


def has_some(params: Params) -> bool:
    """Whether the shards of a set of the hub are taken as they are there."""
    return params.partial and (locate(folder_of(params.root)) / params.split).is_dir()


def _distractors(names: Sequence[str], classes: int) -> list[str]:
    if not names:
        return []
    return [
        f"{len(names)} of {classes} classes have no image in the shards that are there, and are "
        f"distractors: {listed(names, SHOWN)}"
    ]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(
            f"{path}: not found; a WebDataset folder of the CLIP-benchmark layout has one"
        )
    return [line.strip() for line in read_lines(path) if line.strip()]


def _templates(path: Path) -> list[str]:
    """Their {c} as this project's {}; none where the file is missing."""
    lines = _lines(path) if path.is_file() else []
    for line in lines:
        if line.count("{c}") != 1 or set("{}") & set(line.replace("{c}", "")):
            raise UserError(f"{path}: '{line}': expected exactly one {{c}}, the class name")
    return [line.replace("{c}", "{}") for line in lines]


def _names(path: Path) -> list[str]:
    """Class names by label: an empty line between two would shift every later one."""
    if not _lines(path):
        return []
    lines = [one_form(line) for line in read_text(path).rstrip().split("\n")]
    if "" in lines:
        raise UserError(
            f"{path}: line {lines.index('') + 1} is empty, and a label is the number of a line; "
            "remove the line, or name its class"
        )
    return lines


def _shards(folder: Path, partial: bool) -> list[Path]:
    """The shards that nshards.txt counts; with `partial` those of them that are there."""
    count = "".join(_lines(folder / "nshards.txt"))
    if not re.fullmatch("[0-9]{1,6}", count) or int(count) < 1:
        raise UserError(f"{folder / 'nshards.txt'}: {shown(count)} is no number of shards")
    paths = [folder / f"{number}.tar" for number in range(int(count))]
    there = [path for path in paths if path.is_file()]
    missing = [path for path in paths if path not in there]
    if missing and not (partial and there):
        cure = "" if partial else "; get them, or set partial: true to take what is there"
        raise UserError(
            f"{missing[0]}: not found, {len(missing)} of {count} shards are missing{cure}"
        )
    return there

"""WebDataset shards in the CLIP-benchmark layout, as many public evaluation sets are offered.

    <root>/classnames.txt                       one class per line, in label order
    <root>/zeroshot_classification_templates.txt one template per line, {c} is the class name
    <root>/<split>/nshards.txt                  number of shards
    <root>/<split>/0.tar, 1.tar, ...            members <key>.<image ending> and <key>.cls

The shards are read in place: prepare takes each image out of its tar by offset, and `stream`
leaves them there for good. `root: hf:<organisation>/<name>` is a data set of the Hugging Face
hub, fetched once (data.download: true) and checked against the hub's sha256.
"""

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from pipeline.common.bounds import Count, CountOrZero, Side
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.images.classes import ClassEntry
from pipeline.images.data_root import locate
from pipeline.images.decoding import ENDINGS, Decoded, Encoded, Resize, decode
from pipeline.images.image_set import FileSource, ImageSource, SourceImage
from pipeline.prepare.folders import read_lines
from pipeline.prepare.hub_shards import HUB, fetch
from pipeline.prepare.selection import sample_images, select_classes


class Params(Section):
    """`prepare.sets.<set>` with `source: webdataset`."""

    source: Literal["webdataset"]
    root: str
    """Folder below the data root, or hf:<organisation>/<name> of the Hugging Face hub."""
    split: str
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


def open_source(params: Params) -> ImageSource:
    """Index the shards; nothing is decoded yet. A class's id is its label: "0", "1", ...

    Raises:
        UserError: a file of the layout is missing or damaged, or an image has no class.
    """
    root = params.root
    if root.startswith(HUB):
        root = fetch(root, params.split)
    folder = locate(root)
    names = _lines(folder / "classnames.txt")
    members = [m for shard in _shards(folder / params.split) for m in _index(shard, len(names))]
    ids = [str(label) for label in range(len(names))]
    labels = [label for label, _, _ in members]
    class_ids = select_classes(ids, params.classes, str(folder))
    numbers = sample_images(
        labels, ids, class_ids, params.skip, params.images_per_class, str(folder)
    )
    label_of = {int(class_id): label for label, class_id in enumerate(class_ids)}
    items = [SourceImage(label_of[labels[i]], members[i][1]) for i in numbers]
    encoded = [members[i][2] for i in numbers]

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
    )


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


def _shards(folder: Path) -> list[Path]:
    count = "".join(_lines(folder / "nshards.txt"))
    if not count.isdigit() or int(count) < 1:
        raise UserError(f"{folder / 'nshards.txt'}: '{count}' is no number of shards")
    paths = [folder / f"{number}.tar" for number in range(int(count))]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"{missing[0]}: not found, {len(missing)} of {count} shards are missing")
    return paths


def _index(shard: Path, classes: int) -> Iterator[tuple[int, str, Encoded]]:
    """(label, source, where) of every image of a shard, in the shard's order."""
    images: dict[str, Encoded] = {}
    labels: dict[str, int] = {}
    end = 0
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                path = PurePosixPath(member.name)
                key, ending = str(path.with_suffix("")), path.suffix.lower()
                if ending in ENDINGS and key in images:
                    raise UserError(f"{shard}: two images are called {key}")
                if ending in ENDINGS:
                    images[key] = Encoded(shard, member.offset_data, member.size)
                elif ending == ".cls":
                    content = tar.extractfile(member)
                    labels[key] = int(content.read()) if content else -1
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise UserError(f"{shard}: cannot be read: {error}; get it again") from None
    _check_whole(shard, end, sorted(set(labels) - set(images)))
    for key, encoded in images.items():
        if not 0 <= labels.get(key, -1) < classes:
            class_label = labels.get(key, "no .cls file")
            raise UserError(
                f"{shard}: image {key}: class {class_label}, expected 0 to {classes - 1}: "
                f"classnames.txt has {classes} names{_needed(labels)}"
            )
        yield labels[key], f"{shard.parent.name}/{shard.name}/{key}", encoded


def _needed(labels: Mapping[str, int]) -> str:
    """How many names the labels of a shard need."""
    return f", the labels here need {max(labels.values()) + 1}" if labels else ""


def _check_whole(shard: Path, end: int, without_image: list[str]) -> None:
    """Raise UserError unless the shard ends as a tar must, in two empty blocks, and every class
    has its image: tarfile takes a cut or damaged header for the end."""
    with shard.open("rb") as file:
        file.seek(end)
        trailer = file.read(1 << 20)
    if len(trailer) < 2 * tarfile.BLOCKSIZE or trailer.strip(b"\0"):
        raise UserError(f"{shard}: is cut off or damaged after byte {end}; get it again")
    if without_image:
        raise UserError(
            f"{shard}: {without_image[0]}.cls has no image with an ending that is known "
            f"({len(without_image)} in all)"
        )

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
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from pipeline.classes import ClassEntry
from pipeline.datasets._hub_shards import HUB, fetch
from pipeline.datasets._selection import choose, sample
from pipeline.decoding import ENDINGS, Decoded, Encoded, Resize, decode
from pipeline.errors import UserError
from pipeline.images import FileSource, ImageSource, Item
from pipeline.params import Section
from pipeline.raw import locate


class Params(Section):
    """`prepare.sets.<set>` with `source: webdataset`."""

    source: Literal["webdataset"]
    root: str
    """Folder below the data root, or hf:<organisation>/<name> of the Hugging Face hub."""
    split: str
    """Folder of the shards, usually test."""
    size: int = Field(ge=8)
    """Side of the square images, in pixels."""
    resize: Resize
    """stretch: to size x size; crop: shorter side to `size * 8 / 7` (256 for 224), centre crop;
    native: as they are, `size` pixels each."""
    classes: list[str] | str | None = None
    """Ids (labels as strings) to keep, in this order; "a:b" keeps a slice; null: all."""
    images_per_class: int | None = Field(default=None, ge=1)
    """At most this many per class, a sample fixed by the class id; null: all."""
    skip: int = Field(default=0, ge=0)
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
    chosen = choose(ids, params.classes, str(folder))
    kept = sample(labels, ids, chosen, params.skip, params.images_per_class, str(folder))
    label_of = {int(class_id): place for place, class_id in enumerate(chosen)}
    items = [Item(label_of[labels[i]], members[i][1]) for i in kept]
    encoded = [members[i][2] for i in kept]

    def pixels(index: int) -> Decoded:
        return decode(encoded[index], params.size, params.resize)

    return ImageSource(
        [ClassEntry(class_id, names[int(class_id)]) for class_id in chosen],
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
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _templates(path: Path) -> list[str]:
    """Their {c} as this project's {}; none where the file is missing."""
    return [line.replace("{c}", "{}") for line in _lines(path)] if path.is_file() else []


def _shards(folder: Path) -> list[Path]:
    count = _lines(folder / "nshards.txt")[0]
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
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                key, ending = str(path.with_suffix("")), path.suffix.lower()
                if ending in ENDINGS:
                    images[key] = Encoded(shard, member.offset_data, member.size)
                elif ending == ".cls":
                    content = tar.extractfile(member)
                    labels[key] = int(content.read()) if content else -1
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise UserError(f"{shard}: cannot be read: {error}; get it again") from None
    for key, encoded in images.items():
        if not 0 <= labels.get(key, -1) < classes:
            found = labels.get(key, "no .cls file")
            raise UserError(f"{shard}: image {key}: class {found}, expected 0 to {classes - 1}")
        yield labels[key], f"{shard.parent.name}/{shard.name}/{key}", encoded

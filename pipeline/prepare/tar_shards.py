"""The images of WebDataset shards, and the labels beside them.

A shard is a tar with members <key>.<image ending> and <key>.cls, the label. As people write them,
the label is "3", "3.0", JSON such as {"label": 3}, or the class's name, or stands in <key>.json.
"""

import contextlib
import json
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pipeline.common.errors import UserError, first_line
from pipeline.common.text_files import one_form
from pipeline.images.decoding import ENDINGS, Encoded
from pipeline.prepare.directories import is_stray

HIDDEN = "hidden members of shards"
LINKS = "members of shards that are links elsewhere or sparse"
PAX = re.compile(r"PaxHeaders?(\.\d+)?")  # what a tar without support for them makes of headers
LABEL_KEYS = ("label", "cls", "class", "class_id", "target")  # of JSON
LONGEST = 1 << 20  # bytes of a label's file that are read
SHOWN = 40  # most characters of a label in a message
Members = dict[str, tarfile.TarInfo]


class ShardImage(NamedTuple):
    """An image of a shard: its class, its name below the split's folder, and where it is stored."""

    label: int
    source: str
    file: Encoded


class Shard(NamedTuple):
    """What a shard holds, in its order; left_out: the images that are left out, by reason."""

    images: list[ShardImage]
    left_out: dict[str, list[str]]


@dataclass
class _Index:
    """What the members of a shard read so far are; images and labels by their key."""

    path: Path
    images: dict[str, Encoded] = field(default_factory=dict)
    labels: dict[str, Members] = field(default_factory=lambda: {".cls": {}, ".json": {}})
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    stored: dict[str, Encoded] = field(default_factory=dict)  # by the member's whole name
    end: int = 0  # where the last member's content ends, in bytes

    def add(self, member: tarfile.TarInfo) -> None:
        self.end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        name = PurePosixPath(member.name)
        key, ending = str(name.with_suffix("")), name.suffix.lower()
        file = self._file(member)
        if member.isdir():
            return
        if _is_hidden(name):
            self.left_out[HIDDEN].append(f"{_source(self.path)}/{name}")
        elif ending in self.labels and file:
            self.labels[ending][key] = member
        elif ending in ENDINGS and not file:
            self.left_out[LINKS].append(f"{_source(self.path)}/{name}")
        elif ending in ENDINGS and file:
            if key in self.images:
                raise UserError(f"{self.path}: two images are called {key}")
            self.images[key] = file

    def _file(self, member: tarfile.TarInfo) -> Encoded | None:
        """Where the content is; None of a link elsewhere, a device, a sparse file (which says more
        than is there). A hard link is how tar stores a file that it has stored already."""
        if member.isfile() and not member.issparse():
            self.stored[member.name] = Encoded(self.path, member.offset_data, member.size)
        elif member.islnk() and member.linkname in self.stored:
            self.stored[member.name] = self.stored[member.linkname]
        else:
            return None
        return self.stored[member.name]


def _source(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def read_shard(path: Path, names: Sequence[str]) -> Shard:
    """Index a shard; no image is read.

    Args:
        names: of the classes, by label.

    Raises:
        UserError: it is damaged, or an image has no label or one that is no class.
    """
    index = _Index(path)
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                index.add(member)
            _check_whole(path, index.end, sorted(set(index.labels[".cls"]) - set(index.images)))
            labels = dict(_labels(tar, path, index.images, index.labels, names))
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}; get it again") from None
    _check_labels(path, index.images, labels, len(names))
    images = [ShardImage(labels[k], f"{_source(path)}/{k}", f) for k, f in index.images.items()]
    return Shard(images, dict(index.left_out))


def _is_hidden(name: PurePosixPath) -> bool:
    """Whether a member is a left-over of a system or an archiver, such as macOS's "._s0.png"."""
    return any(part != ".." and (is_stray(part) or PAX.fullmatch(part)) for part in name.parts)


def _labels(
    tar: tarfile.TarFile,
    path: Path,
    keys: Iterable[str],
    members: dict[str, Members],
    names: Sequence[str],
) -> Iterator[tuple[str, int]]:
    """(key, label) of the images that have a label; <key>.json counts where there is no .cls."""
    counts = Counter(names)
    numbers = {name: label for label, name in enumerate(names) if counts[name] == 1}
    for key in keys:
        ending = ".cls" if key in members[".cls"] else ".json"
        member = members[ending].get(key)
        content = tar.extractfile(member) if member else None
        if content is None:
            continue
        text = content.read(LONGEST).decode("utf-8-sig", errors="replace").strip()
        label = _label(text, numbers, needed=ending == ".cls")
        if label is None and ending == ".cls":
            raise UserError(
                f"{path}: {key}.cls: label '{one_form(text)[:SHOWN]}' is no number of a class, "
                f"0 to {len(names) - 1}, and no name in classnames.txt"
            )
        if label is not None:
            yield key, label


def _label(text: str, numbers: dict[str, int], *, needed: bool) -> int | None:
    """A label as people write it; None where it is none.

    Args:
        numbers: label of each name that one class alone has.
        needed: false for a JSON file that may be about other things.
    """
    if needed and re.fullmatch(r"[+-]?\d{1,9}", text):
        return int(text)
    value: Any = text
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text)
    if isinstance(value, dict):
        value = next((value[key] for key in LABEL_KEYS if key in value), None)
    elif not needed:
        return None
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\d{1,9}", value) else numbers.get(one_form(value))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_labels(path: Path, keys: Iterable[str], labels: dict[str, int], classes: int) -> None:
    """Raise UserError unless every image has a label, and each is a class."""
    for key in keys:
        if not 0 <= labels.get(key, -1) < classes:
            class_label = labels.get(key, "no .cls file")
            needed = f", the labels here need {max(labels.values()) + 1}" if labels else ""
            raise UserError(
                f"{path}: image {key}: class {class_label}, expected 0 to {classes - 1}: "
                f"classnames.txt has {classes} names{needed}"
            )


def _check_whole(path: Path, end: int, without_image: list[str]) -> None:
    """Raise UserError unless the shard ends as a tar must, in two empty blocks, and every class
    has its image: tarfile takes a cut or damaged header for the end."""
    with path.open("rb") as file:
        file.seek(end)
        trailer = file.read(1 << 20)
    if len(trailer) < 2 * tarfile.BLOCKSIZE or trailer.strip(b"\0"):
        raise UserError(f"{path}: is cut off or damaged after byte {end}; get it again")
    if without_image:
        raise UserError(
            f"{path}: {without_image[0]}.cls has no image with an ending that is known "
            f"({len(without_image)} in all)"
        )

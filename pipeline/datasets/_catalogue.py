"""What every published data set has in common: its facts, where it lies, which part is used.

An entry is a file with FACTS, a function that lists its images, and
`open_source = catalogued(FACTS, listing)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from pipeline.classes import ClassEntry
from pipeline.datasets._selection import choose, sample
from pipeline.decoding import Decoded, Encoded, Resize, decode, fit, to_rgb
from pipeline.errors import UserError
from pipeline.images import FileSource, ImageSource, Item
from pipeline.params import Section
from pipeline.raw import ROOT_VARIABLE, downloads_allowed, locate


class Split(NamedTuple):
    """Published size of a split, and the paths below the root without which it is not there."""

    images: int
    classes: int
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """A published data set. Sizes and counts are the publisher's.

    split: what is evaluated unless params say otherwise, as in the reference (SAFT release);
    pixels: side of the images, None where they differ; resize: the reference's preprocessing;
    templates: the data set's own prompts, {} is the class name; disk_gb: unpacked, all splits;
    get: shell commands to run in the root; fetch: downloads into the root, where the publisher
    offers TLS and a checksum; unlabelled: splits that exist without public labels.
    """

    title: str
    splits: Mapping[str, Split]
    split: str
    resize: Resize
    pixels: int | None
    templates: tuple[str, ...]
    licence: str
    citation: str
    homepage: str
    disk_gb: float
    get: tuple[str, ...]
    fetch: Callable[[Path, str], object] | None = None
    unlabelled: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


class CatalogueParams(Section):
    """`prepare.sets.<set>` with a published data set as `source`; only `size` has no default."""

    source: str
    size: int
    """Side of the square images, in pixels: the model's input."""
    split: str | None = None
    """Part of the data set; null: what the reference evaluates."""
    root: str | None = None
    """Folder below the data root that holds the data set's own folder; null: the data root."""
    resize: Resize | None = None
    """stretch: to size x size; crop: shorter side to `size * 8 / 7` (256 for 224), centre crop;
    native: as they are, `size` pixels each; null: as the reference does with this set."""
    classes: list[str] | str | None = None
    """Ids to keep, in this order; "a:b" keeps that slice of the ids; null: all."""
    images_per_class: int | None = None
    """At most this many per class, a sample fixed by the class id; null: all."""
    skip: int = 0
    """Leave out this many images of each class first (for disjoint sets of one split)."""
    partial: bool = False
    """true: take what is there, even if it is not the published number of images and classes."""
    stream: bool = False
    """true: decode at each use instead of packing once; for sets of files that are too large."""


class Listing(NamedTuple):
    """The images of a split, before anything is decoded.

    labels: one per image; sources: what to call each, stable across machines; files: where
    each lies, or None, then `read(i)` gives image i.
    """

    classes: Sequence[ClassEntry]
    labels: Sequence[int]
    sources: Sequence[str]
    files: Sequence[Encoded] | None = None
    read: Callable[[int], Image.Image] | None = None


List = Callable[[Path, str, CatalogueParams], Listing]


def catalogued(facts: Facts, listing: List) -> Callable[[CatalogueParams], ImageSource]:
    """The `open_source` of an entry; it raises UserError when the set is missing or incomplete."""

    def open_source(params: CatalogueParams) -> ImageSource:
        split, root = split_of(facts, params), locate(params.root or ".")
        if absent(facts, split, root):
            obtain(facts, split, root)
        found = listing(root, split, params)
        if not params.partial:
            _check_counts(facts, split, found, root)
        return _source(facts, params, found)

    return open_source


def split_of(facts: Facts, params: CatalogueParams) -> str:
    """The split that params name, or the usual one."""
    split = params.split or facts.split
    if split in facts.unlabelled:
        raise UserError(
            f"{facts.title}: the labels of split '{split}' are not public; "
            f"take {' or '.join(facts.splits)}"
        )
    if split not in facts.splits:
        raise UserError(
            f"{facts.title}: split is '{split}', expected one of {', '.join(facts.splits)}"
        )
    return split


def absent(facts: Facts, split: str, root: Path) -> list[Path]:
    """The paths that a split needs and `root` lacks."""
    return [root / path for path in facts.splits[split].needs if not (root / path).exists()]


def obtain(facts: Facts, split: str, root: Path) -> None:
    """Download the set where params allow it, else say how to get it.

    Raises:
        UserError: one message: what is missing where, and the commands.
    """
    if not (downloads_allowed() and facts.fetch):
        raise UserError(how_to_get(facts, split, root))
    root.mkdir(parents=True, exist_ok=True)
    try:
        facts.fetch(root, split)
    except Exception as error:  # any of the network's, the archive's or the disk's
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{facts.title}: download failed: {reason}; {how_to_get(facts, split, root)}"
        ) from None


def how_to_get(facts: Facts, split: str, root: Path) -> str:
    """One line: what is missing, where it is expected, and the commands that get it."""
    missing = absent(facts, split, root)
    allowed = "; or set data.download: true" if facts.fetch and not downloads_allowed() else ""
    where = "" if root.exists() else f" (the folder does not exist; {ROOT_VARIABLE} or data.root)"
    commands = " && ".join([f"mkdir -p {root}", f"cd {root}", *facts.get])
    return (
        f"{facts.title} ({split}) is not in {root}{where}: no {missing[0].relative_to(root)}; "
        f"get it with: {commands}{allowed}"
    )


def _check_counts(facts: Facts, split: str, found: Listing, root: Path) -> None:
    wanted = facts.splits[split]
    counts = (("images", len(found.labels), wanted.images),
              ("classes", len(found.classes), wanted.classes))  # fmt: skip
    for kind, number, published in counts:
        if number != published:
            raise UserError(
                f"{root}: {facts.title} ({split}) has {number} {kind} there, {published} were "
                "published: extract the archive again, remove what does not belong there, or set "
                "partial: true to take what there is"
            )


def _source(facts: Facts, params: CatalogueParams, found: Listing) -> ImageSource:
    ids = [entry.class_id for entry in found.classes]
    chosen = choose(ids, params.classes, facts.title)
    kept = sample(found.labels, ids, chosen, params.skip, params.images_per_class, facts.title)
    label_of = {ids.index(class_id): label for label, class_id in enumerate(chosen)}
    items = [Item(label_of[found.labels[i]], found.sources[i]) for i in kept]
    resize = params.resize or facts.resize
    files = None
    if found.files is not None:
        files = FileSource(params.root or ".", [found.files[i] for i in kept], resize)
    names = {entry.class_id: entry for entry in found.classes}

    def pixels(index: int) -> Decoded:
        if files is not None:
            return decode(files.files[index], params.size, resize)
        assert found.read is not None
        image, remarks = to_rgb(found.read(kept[index]))
        return Decoded(fit(image, params.size, resize), remarks)

    return ImageSource(
        [names[class_id] for class_id in chosen],
        items,
        params.size,
        pixels,
        facts.templates,
        files,
        params.stream,
    )

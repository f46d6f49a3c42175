"""What every published data set has in common: its facts, where it lies, which part is used.

An entry is a file with FACTS, a function that lists its images, and
`open_source = catalogued(FACTS, listing)`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image
from pydantic import Field

from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.images.classes import ClassEntry, check_labels
from pipeline.images.data_root import locate
from pipeline.images.decoding import Decoded, Encoded, Resize, decode, fit, to_rgb
from pipeline.images.image_set import FileSource, ImageSource, SourceImage
from pipeline.prepare.download import obtain
from pipeline.prepare.facts import Facts
from pipeline.prepare.selection import choose, sample


class CatalogueParams(Section):
    """`prepare.sets.<set>` with a published data set as `source`; only `size` has no default."""

    source: str
    size: int = Field(ge=8)
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
    images_per_class: int | None = Field(default=None, ge=1)
    """At most this many per class, a sample fixed by the class id; null: all."""
    skip: int = Field(default=0, ge=0)
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


P = TypeVar("P", bound=CatalogueParams)


def catalogued(
    facts: Facts, listing: Callable[[Path, str, P], Listing]
) -> Callable[[P], ImageSource]:
    """The `open_source` of an entry; it raises UserError when the set is missing or incomplete."""

    def open_source(params: P) -> ImageSource:
        split, root = split_of(facts, params), locate(params.root or ".")
        obtain(facts, split, root)
        found = listing(root, split, params)
        check_labels(np.asarray(found.labels), len(found.classes), f"{root}: {facts.title}")
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
    items = [SourceImage(label_of[found.labels[i]], found.sources[i]) for i in kept]
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

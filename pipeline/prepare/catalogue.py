"""What every published data set has in common: its facts, where it is stored, which part is used.

An entry is a file with FACTS, a function that lists its images, and
`open_source = make_open_source(FACTS, listing)`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from pipeline.common.bounds import Count, CountOrZero, Name, PathText, Side
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.images.classes import ClassEntry, check_labels
from pipeline.images.data_root import locate
from pipeline.images.decoding import Decoded, Encoded, Resize, decode, fit, to_rgb
from pipeline.images.image_set import FileSource, ImageSource, SourceImage
from pipeline.prepare.download import obtain
from pipeline.prepare.facts import Facts
from pipeline.prepare.selection import sample_images, select_classes


class CatalogueParams(Section):
    """`prepare.sets.<set>` with a published data set as `source`; only `size` has no default."""

    source: Name
    size: Side
    """Side of the square images, in pixels: the model's input."""
    split: PathText | None = None
    """Part of the data set; null: what the reference evaluates."""
    root: PathText | None = None
    """Folder below the data root that holds the data set's own folder; null: the data root."""
    resize: Resize | None = None
    """stretch: to size x size; crop: shorter side to `size * 8 / 7` (256 for 224), centre crop;
    native: as they are, `size` pixels each; null: as the reference does with this set."""
    classes: list[str] | str | None = None
    """Ids to keep, in this order; "a:b" keeps that slice of the ids; null: all."""
    images_per_class: Count | None = None
    """At most this many per class, a sample fixed by the class id; null: all."""
    skip: CountOrZero = 0
    """Leave out this many images of each class first (for disjoint sets of one split)."""
    partial: bool = False
    """true: take what is there, even if it is not the published number of images and classes."""
    stream: bool = False
    """true: decode at each use instead of packing once; for sets of files that are too large."""


class Listing(NamedTuple):
    """The images of a split, before anything is decoded.

    labels: one per image; sources: what to call each, stable across machines; files: where
    each is stored, or None, then `read(i)` gives image i; left_out: see `prepare/walking.py`.
    """

    classes: Sequence[ClassEntry]
    labels: Sequence[int]
    sources: Sequence[str]
    files: Sequence[Encoded] | None = None
    read: Callable[[int], Image.Image] | None = None
    left_out: Mapping[str, Sequence[str]] = MappingProxyType({})


P = TypeVar("P", bound=CatalogueParams)


def make_open_source(
    facts: Facts, list_images: Callable[[Path, str, P], Listing]
) -> Callable[[P], ImageSource]:
    """The `open_source` of an entry; it raises UserError when the set is missing or incomplete."""

    def open_source(params: P) -> ImageSource:
        split, root = split_of(facts, params), locate(params.root or ".")
        obtain(facts, split, root)
        listing = list_images(root, split, params)
        check_labels(np.asarray(listing.labels), len(listing.classes), f"{root}: {facts.title}")
        if not params.partial:
            _check_counts(facts, split, listing, root)
        return _source(facts, params, listing)

    return open_source


def split_of(facts: Facts, params: CatalogueParams) -> str:
    """The split that params name, or the one in `facts`.

    Raises:
        UserError: there is no such split, or its labels are not public.
    """
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


def _check_counts(facts: Facts, split: str, listing: Listing, root: Path) -> None:
    split_size = facts.splits[split]
    counts = (("images", len(listing.labels), split_size.images),
              ("classes", len(listing.classes), split_size.classes))  # fmt: skip
    for kind, count, expected in counts:
        if count != expected:
            raise UserError(
                f"{root}: {facts.title} ({split}) has {count} {kind} there, {expected} were "
                "published: extract the archive again, remove what does not belong there, or set "
                "partial: true to take what there is"
            )


def _source(facts: Facts, params: CatalogueParams, listing: Listing) -> ImageSource:
    ids = [class_entry.class_id for class_entry in listing.classes]
    class_ids = select_classes(ids, params.classes, facts.title)
    numbers = sample_images(
        listing.labels, ids, class_ids, params.skip, params.images_per_class, facts.title
    )
    label_of = {ids.index(class_id): label for label, class_id in enumerate(class_ids)}
    items = [SourceImage(label_of[listing.labels[i]], listing.sources[i]) for i in numbers]
    resize = params.resize or facts.resize
    files = None
    if listing.files is not None:
        files = FileSource(params.root or ".", [listing.files[i] for i in numbers], resize)
    class_entries = {class_entry.class_id: class_entry for class_entry in listing.classes}

    def pixels(index: int) -> Decoded:
        if files is not None:
            return decode(files.files[index], params.size, resize)
        assert listing.read is not None
        image, remarks = to_rgb(listing.read(numbers[index]))
        return Decoded(fit(image, params.size, resize), remarks)

    return ImageSource(
        [class_entries[class_id] for class_id in class_ids],
        items,
        params.size,
        pixels,
        facts.templates,
        files,
        params.stream,
        listing.left_out,
    )

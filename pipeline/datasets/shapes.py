"""A rendered zero-shot benchmark: 10 shapes x 8 colours, split by *composition*.

A class such as "red star" that is held out of fine-tuning is new as a combination, while
"red" and "star" were both seen: telling it apart needs what the text says about it, as in
zero-shot CLIP. Size, place, angle, shade and background vary freely. Every image, and the caption
that tells what was drawn, follows from (seed, class, number) alone.
"""

import zlib
from typing import Literal

import numpy as np

from pipeline.common.bounds import Count, LongSeed
from pipeline.common.params import Section
from pipeline.images.classes import ClassEntry
from pipeline.images.decoding import Decoded
from pipeline.images.image_set import ImageSource, SourceImage
from pipeline.prepare.outlines import SHAPES
from pipeline.prepare.rendering import COLOURS, SIZE, Subject, composition, letters, to_array

Split = Literal["seen", "validation", "held-out"]


class Params(Section):
    """`prepare.sets.<set>` with `source: shapes`."""

    source: Literal["shapes"]
    split: Split
    """seen: 40 classes to fine-tune on; validation: 20 to choose by; held-out: 20 to report."""
    letters: bool
    """Whether the 20 printed letters join as further classes."""
    images_per_class: Count
    seed: LongSeed


def split_of(shape: int, colour: int) -> Split:
    """The split of a composition: each shape has 4 colours seen, 2 for validation, 2 held out."""
    remainder = (3 * shape + colour) % len(COLOURS)
    return "held-out" if remainder < 2 else "validation" if remainder < 4 else "seen"


def subjects(params: Params) -> list[Subject]:
    """The classes of a split, in label order."""
    compositions = [
        composition(shape, colour)
        for s, shape in enumerate(SHAPES)
        for c, colour in enumerate(COLOURS)
        if split_of(s, c) == params.split
    ]
    return compositions + (letters() if params.letters else [])


def open_source(params: Params) -> ImageSource:
    """Classes and images of one split, in class order."""
    drawn, count = subjects(params), params.images_per_class

    def stream(subject: Subject, number: int) -> np.random.Generator:
        entropy = [params.seed, zlib.crc32(subject.class_id.encode()), number]
        return np.random.default_rng(entropy)

    items = [
        SourceImage(label, f"{subject.class_id}/{number}", subject.tell(stream(subject, number)))
        for label, subject in enumerate(drawn)
        for number in range(count)
    ]

    def decode(index: int) -> Decoded:
        label, number = divmod(index, count)
        return Decoded(to_array(drawn[label].draw(stream(drawn[label], number))))

    classes = [ClassEntry(subject.class_id, subject.name) for subject in drawn]
    return ImageSource(classes, items, SIZE, decode)

"""A rendered zero-shot benchmark: 10 shapes x 8 colours, split by *composition*.

A class such as "red star" that is held out of fine-tuning is new as a combination, while
"red" and "star" were both seen: telling it apart needs what the text says about it, as in
zero-shot CLIP. Size, place, angle, shade and background vary freely. Every image
follows from (seed, class, number) alone.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.images import ClassEntry, ImageSource, Item
from pipeline.params import Section
from pipeline.rendering import COLOURS, SHAPES, SIZE, render, to_array

Split = Literal["seen", "validation", "held-out"]


class Params(Section):
    """`prepare.<set>` with `source: shapes`."""

    source: Literal["shapes"]
    split: Split
    """seen: 40 classes to fine-tune on; validation: 20 to choose by; held-out: 20 to report."""
    images_per_class: int = Field(ge=1)
    seed: int = Field(ge=0)


def split_of(shape: int, colour: int) -> Split:
    """The split of a composition: each shape has 4 colours seen, 2 for validation, 2 held out."""
    remainder = (3 * shape + colour) % len(COLOURS)
    return "held-out" if remainder < 2 else "validation" if remainder < 4 else "seen"


def open_source(params: Params) -> ImageSource:
    """Classes and images of one split, in class order."""
    pairs = [
        (shape, colour)
        for s, shape in enumerate(SHAPES)
        for c, colour in enumerate(COLOURS)
        if split_of(s, c) == params.split
    ]
    classes = [ClassEntry(f"{colour}-{shape}", f"{colour} {shape}") for shape, colour in pairs]
    count = params.images_per_class
    items = [
        Item(label, f"{entry.class_id}/{number}")
        for label, entry in enumerate(classes)
        for number in range(count)
    ]

    def decode(index: int) -> np.ndarray:
        shape, colour = pairs[index // count]
        key = [params.seed, list(SHAPES).index(shape), list(COLOURS).index(colour), index % count]
        return to_array(render(shape, colour, np.random.default_rng(key)))

    return ImageSource(classes, items, SIZE, decode)

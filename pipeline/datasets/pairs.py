"""Rendered image-caption pairs that the demo's small CLIP is pretrained on.

They play the part of web data: coloured shapes of every composition and digits and letters in the
fonts that matplotlib ships, each with a caption drawn from a small grammar. No image of
any other set appears here: the random streams differ, and the digits are printed ones.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.common.bounds import MOST, LongSeed, Share
from pipeline.common.params import Section
from pipeline.images.classes import ClassEntry
from pipeline.images.decoding import Decoded
from pipeline.images.image_set import ImageSource, SourceImage
from pipeline.prepare.outlines import SHAPES
from pipeline.prepare.rendering import (
    COLOURS,
    SIZE,
    Subject,
    composition,
    digits,
    letters,
    to_array,
)

STREAM = 7_919  # keeps these pictures apart from `shapes` with the same seed
OPENINGS = (
    "a photo of {}", "this is a photo of {}", "a picture of {}", "an image of {}", "{}",
    "a drawing that shows {}", "it looks like {}", "a caption of {}", "you can identify {}",
)  # fmt: skip
PLACES = ("", "", "", " on a plain background", " in front of a grey background", " in the picture")
TINTS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "bright red", "scarlet", "crimson"),
    "orange": ("orange", "orange", "bright orange", "tangerine"),
    "yellow": ("yellow", "yellow", "bright yellow", "lemon yellow", "golden"),
    "green": ("green", "green", "leaf green", "emerald"),
    "turquoise": ("turquoise", "turquoise", "teal", "cyan"),
    "blue": ("blue", "blue", "deep blue", "royal blue"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "light pink", "rosy"),
}
LOOKS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "round disc", "filled circle with a smooth round outline"),
    "square": ("square", "box with four equal sides", "square with four right corners"),
    "triangle": ("triangle", "triangle with three corners", "three sided shape"),
    "star": ("star", "star with five points", "five pointed star"),
    "heart": ("heart", "heart with two round lobes and a tip below", "heart shape"),
    "cross": ("cross", "plus sign with four arms", "cross with four equal arms"),
    "ring": ("ring", "hoop with a hole in the middle", "ring with an open centre"),
    "crescent": ("crescent", "thin curved moon", "crescent with two pointed horns"),
    "arrow": ("arrow", "arrow with a shaft and a pointed head", "arrow pointing right"),
    "hourglass": ("hourglass", "hourglass with a narrow waist", "two triangles that meet"),
}


class Params(Section):
    """`prepare.sets.<set>` with `source: pairs`."""

    source: Literal["pairs"]
    images: int = Field(ge=100, le=MOST)
    glyph_share: Share
    """Share of printed digits and letters among the images."""
    seed: LongSeed


def open_source(params: Params) -> ImageSource:
    """Captioned images of the 80 compositions, the ten digits and the twenty letters."""
    shapes = [composition(shape, colour) for shape in SHAPES for colour in COLOURS]
    glyphs = digits() + letters()
    subjects = shapes + glyphs
    rng = np.random.default_rng([params.seed, STREAM])
    labels = rng.permutation(balanced_labels(params, len(shapes), len(glyphs)))
    items = [
        SourceImage(int(label), f"pairs/{i}", caption(subjects[label], rng))
        for i, label in enumerate(labels)
    ]

    def decode(index: int) -> Decoded:
        stream = np.random.default_rng([params.seed, STREAM, index])
        return Decoded(to_array(subjects[items[index].label].draw(stream)))

    classes = [ClassEntry(subject.class_id, subject.name) for subject in subjects]
    return ImageSource(classes, items, SIZE, decode)


def balanced_labels(params: Params, shapes: int, glyphs: int) -> np.ndarray:
    """Every class of a kind equally often: shapes are 0..shapes-1, glyphs follow."""
    count = round(params.images * params.glyph_share)
    return np.concatenate(
        [np.arange(params.images - count) % shapes, shapes + np.arange(count) % glyphs]
    )


def caption(subject: Subject, rng: np.random.Generator) -> str:
    """A sentence about the subject, drawn from the grammar."""
    first, _, second = subject.name.partition(" ")
    if first in ("digit", "letter"):
        noun = str(
            rng.choice((f"the {first} {second}", f"a {first} {second}", f"a handwritten {second}"))
        )
        return str(rng.choice(OPENINGS)).format(noun)
    tint = str(rng.choice(TINTS[first]))
    look = second if rng.random() < 0.5 else str(rng.choice(LOOKS[second]))
    noun = f"{article(tint)} {tint} {look}"
    if rng.random() < 0.2:
        noun = f"{article(look)} {look} that is {tint}"
    return str(rng.choice(OPENINGS)).format(noun) + str(rng.choice(PLACES))


def article(word: str) -> str:
    """The indefinite article by spelling: "an" before a vowel, whatever its case."""
    return "an" if word[:1].lower() in "aeiou" else "a"

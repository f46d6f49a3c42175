"""Rendered image-caption pairs that the demo's small CLIP is pretrained on.

They play the part of web data: coloured shapes of every composition and digits in the
fonts that matplotlib ships, each with a caption drawn from a small grammar. No image of
any other set appears here: the random streams differ, and the digits are printed ones.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.images import ClassEntry, ImageSource, Item
from pipeline.params import Section
from pipeline.rendering import COLOURS, DIGITS, SHAPES, SIZE, fonts, render, render_digit, to_array

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
    """`prepare.<set>` with `source: pairs`."""

    source: Literal["pairs"]
    images: int = Field(ge=100)
    digit_share: float = Field(ge=0, le=1)
    """Share of printed digits among the images."""
    seed: int = Field(ge=0)


def open_source(params: Params) -> ImageSource:
    """Captioned images; classes are the 80 compositions followed by the ten digits."""
    pairs = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    classes = [ClassEntry(f"{colour}-{shape}", f"{colour} {shape}") for shape, colour in pairs]
    classes += [ClassEntry(f"digit-{i}", f"digit {name}") for i, name in enumerate(DIGITS)]
    rng = np.random.default_rng([params.seed, STREAM])
    is_digit = rng.random(params.images) < params.digit_share
    choice = rng.random(params.images)
    labels = np.where(
        is_digit, len(pairs) + (choice * len(DIGITS)).astype(int), (choice * len(pairs)).astype(int)
    )
    items = [
        Item(int(label), f"pairs/{i}", _caption(int(label), pairs, rng))
        for i, label in enumerate(labels)
    ]
    faces = fonts()

    def decode(index: int) -> np.ndarray:
        stream = np.random.default_rng([params.seed, STREAM, index])
        label = items[index].label
        if label < len(pairs):
            return to_array(render(*pairs[label], stream))
        return to_array(render_digit(label - len(pairs), faces, stream))

    return ImageSource(classes, items, SIZE, decode)


def _caption(label: int, pairs: list[tuple[str, str]], rng: np.random.Generator) -> str:
    if label >= len(pairs):
        name = DIGITS[label - len(pairs)]
        noun = str(rng.choice((f"the digit {name}", f"the number {name}", f"a handwritten {name}")))
        return str(rng.choice(OPENINGS)).format(noun)
    shape, colour = pairs[label]
    tint = str(rng.choice(TINTS[colour]))
    look = shape if rng.random() < 0.5 else str(rng.choice(LOOKS[shape]))
    noun = (
        f"{article(tint)} {tint} {look}"
        if rng.random() < 0.8
        else f"{article(look)} {look} that is {tint}"
    )
    return str(rng.choice(OPENINGS)).format(noun) + str(rng.choice(PLACES))


def article(word: str) -> str:
    """The indefinite article by spelling: "an" before a vowel, whatever its case."""
    return "an" if word[:1].lower() in "aeiou" else "a"

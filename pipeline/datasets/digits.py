"""scikit-learn's handwritten digits: 1,797 real images, shipped with the library.

The 8 x 8 grey images (values 0..16) are enlarged to 32 x 32. They are a *transfer* set:
nothing is ever trained on them.
"""

from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field

from pipeline.common.params import Section
from pipeline.images.classes import ClassEntry
from pipeline.images.decoding import Decoded
from pipeline.images.image_set import ImageSource, SourceImage
from pipeline.prepare.rendering import DIGITS, SIZE


class Params(Section):
    """`prepare.sets.<set>` with `source: digits`."""

    source: Literal["digits"]
    skip: int = Field(ge=0, le=1697)
    """Leave out this many images first (for disjoint sets)."""
    images: int | None = Field(ge=1, le=1797)
    """How many images, in the library's order (class-mixed); null: all the others."""


def open_source(params: Params) -> ImageSource:
    """Ten classes "digit-0" .. "digit-9" with names "zero" .. "nine"."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    last = params.skip + (params.images or len(digits.images))
    numbers = range(params.skip, min(last, len(digits.images)))
    items = [SourceImage(int(digits.target[i]), f"sklearn-digits/{i}") for i in numbers]

    def decode(index: int) -> Decoded:
        grey = (digits.images[numbers[index]] * (255 / 16)).round().astype(np.uint8)
        large = Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        return Decoded(np.repeat(np.asarray(large)[None], 3, axis=0))

    classes = [ClassEntry(f"digit-{i}", name) for i, name in enumerate(DIGITS)]
    return ImageSource(classes, items, SIZE, decode)

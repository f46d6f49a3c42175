"""Types of the numbers and texts of params.yaml, with the bounds that physics or memory sets.

Bounds are generous: beyond them lies what no computation here can hold (the models compute in
32-bit floats, tables count in 32-bit integers). Whether a run fits this machine is the business of
`saft check`. A number with bounds of its own states them where it stands.
"""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from pipeline.common import names

MOST = 2**31 - 1  # of what is counted
SMALLEST = 2.0**-126  # a 32-bit float nearer to 0 loses digits, or is 0

N = TypeVar("N", int, float)


def _kept_in_32_bits(number: N) -> N:
    if number != 0 and abs(number) < SMALLEST:
        raise ValueError("is too near to 0 for a 32-bit float")
    return number


def _path(text: str) -> str:
    if len(text.encode()) >= 4096 or any(len(part.encode()) > 255 for part in text.split("/")):
        raise ValueError("is longer than the name of a file or folder may be")
    return text


_In32Bits = AfterValidator(_kept_in_32_bits)

Count = Annotated[int, Field(ge=1, le=MOST)]  # images, steps, passes, words
CountOrZero = Annotated[int, Field(ge=0, le=MOST)]
FewOrZero = Annotated[int, Field(ge=0, le=10_000)]  # repetitions of a request
Few = Annotated[int, Field(ge=1, le=10_000)]  # what is held at once: threads, answers, layers
Seed = Annotated[int, Field(ge=0, lt=2**31)]
LongSeed = Annotated[int, Field(ge=0, lt=2**63)]  # of numpy, which would take any
Width = Annotated[int, Field(ge=32, le=2**16, multiple_of=32)]  # of a transformer, heads of 32
Side = Annotated[int, Field(ge=8, le=2**13)]  # of a square image, in pixels
Rate = Annotated[float, Field(gt=0, le=1e6), _In32Bits]  # learning rate
Weight = Annotated[float, Field(ge=0, le=1e6), _In32Bits]  # of a term of a loss
Factor = Annotated[float, Field(gt=0, le=1e6), _In32Bits]  # on logits, or a length of them
Share = Annotated[float, Field(ge=0, le=1), _In32Bits]
Momentum = Annotated[float, Field(ge=0, lt=1), _In32Bits]  # a share that is not all
Limit = Annotated[float, Field(gt=0, le=3e38), _In32Bits]  # of a norm
Seconds = Annotated[float, Field(ge=0, le=1e9)]
# in 1/255: 255 is the whole range of a pixel, and an l2 ball is larger by the root of the pixels
Radius = Annotated[float, Field(gt=0, le=255 * 255), _In32Bits]
Epsilon = Annotated[int | float, Field(gt=0, le=255 * 255), _In32Bits]  # as written: 4 is not 4.0

PathText = Annotated[str, AfterValidator(_path)]  # of a file or folder, which need not exist
Name = Annotated[str, Field(max_length=names.LONGEST)]  # of a set, model, text set or plug-in

"""Small pictures drawn from a random stream: coloured shapes and printed digits.

Every pixel follows from the stream alone, so a set is the same on any machine with the same
Pillow. Shared by the data sets `shapes` and `pairs`.
"""

import colorsys
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.prepare.outlines import SHAPES, Points

SIZE = 32
SCALE = 4  # drawn large, then reduced: smooth edges without a font-like rasteriser
# hue in degrees, saturation, value
COLOURS = {
    "red": (0, 0.90, 0.85),
    "orange": (28, 0.95, 0.95),
    "yellow": (55, 0.90, 0.95),
    "green": (120, 0.80, 0.65),
    "turquoise": (175, 0.80, 0.80),
    "blue": (225, 0.85, 0.85),
    "purple": (275, 0.75, 0.65),
    "pink": (330, 0.45, 1.00),
}
HAZE = (0.15, 0.5)  # share of grey mixed in
NOISE = 2  # largest standard deviation, of 255
COARSE = 0.7  # share of glyphs drawn as a coarse scan
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = "ABCEFHKLMNPRSTUVWXYZ"  # without I, O, Q and others drawn like a digit or each other


class Subject(NamedTuple):
    """A class that can be drawn: `draw` turns a random stream into an image, `tell` an equal one
    into what that image shows."""

    class_id: str
    name: str
    draw: Callable[[np.random.Generator], Image.Image]
    tell: Callable[[np.random.Generator], str]


def compose(rng: np.random.Generator) -> tuple[Image.Image, float, np.ndarray, float]:
    """What a picture of a shape begins with: its background, radius and centre of the shape in
    shares of the picture's side, and its angle in radians."""
    corners = background(rng)
    radius = rng.uniform(0.28, 0.42)
    centre = rng.uniform(radius, 1 - radius, size=2) if radius < 0.5 else np.array([0.5, 0.5])
    return corners, radius, centre, math.radians(rng.uniform(-20, 20))


def tell(shape: str, colour: str, rng: np.random.Generator) -> str:
    """What the picture of that stream shows: shape, colour, size, and the grey behind it."""
    corners, radius, *_ = compose(rng)
    grey = np.asarray(corners).mean()
    size = "small " if radius < 0.32 else "large " if radius > 0.38 else ""
    tone = "dark" if grey < 95 else "light" if grey > 160 else "grey"
    noun = f"{size}{colour} {shape}"
    return f"a photo of a{'n' * noun.startswith('o')} {noun} in front of a {tone} background"


def render(shape: str, colour: str, rng: np.random.Generator) -> Image.Image:
    """Draw one image, RGB, SIZE x SIZE pixels."""
    corners, radius, centre, angle = compose(rng)
    canvas = corners.resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.BICUBIC)
    mask = Image.new("L", canvas.size, 0)
    draw = ImageDraw.Draw(mask)

    def to_pixels(outline: Points) -> Points:
        cos, sin = math.cos(angle), math.sin(angle)
        x0, y0 = centre
        return [
            (
                (x0 + radius * (x * cos - y * sin)) * canvas.width,
                (y0 + radius * (x * sin + y * cos)) * canvas.width,
            )
            for x, y in outline
        ]

    for points, fill in SHAPES[shape]():
        draw.polygon(to_pixels(points), fill=fill)
    canvas.paste(Image.new("RGB", canvas.size, shade(colour, rng)), mask=mask)
    return add_noise(add_haze(canvas.resize((SIZE, SIZE), Image.Resampling.BOX), rng), rng)


def add_haze(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blend with grey: photographs rarely use the full range either, and low contrast is
    what makes a small perturbation matter."""
    grey = Image.new("RGB", image.size, (int(rng.integers(90, 165)),) * 3)
    return Image.blend(image, grey, rng.uniform(*HAZE))


def shade(colour: str, rng: np.random.Generator) -> tuple[int, int, int]:
    """A variant of a named colour."""
    hue, saturation, value = COLOURS[colour]
    hue = (hue + rng.uniform(-6, 6)) / 360 % 1
    rgb = colorsys.hsv_to_rgb(
        hue, min(1, saturation * rng.uniform(0.9, 1.05)), min(1, value * rng.uniform(0.85, 1.1))
    )
    return tuple(round(255 * channel) for channel in rgb)  # type: ignore[return-value]


def background(rng: np.random.Generator) -> Image.Image:
    """A muted gradient: 2 x 2 near-grey corners, to be enlarged."""
    grey = rng.uniform(30, 225, size=(1, 1, 1)) + rng.uniform(-45, 45, size=(2, 2, 1))
    corners = grey + rng.uniform(-18, 18, size=(2, 2, 3))
    return Image.fromarray(corners.clip(0, 255).astype(np.uint8))


def add_noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Sensor-like noise of a random strength."""
    pixels = np.asarray(image, dtype=np.float64)
    noise = rng.normal(0, rng.uniform(0, NOISE), size=pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def to_array(image: Image.Image) -> np.ndarray:
    """RGB image to uint8 (3, H, W)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def fonts() -> list[Path]:
    """The text faces that matplotlib ships, sorted: the same on every machine."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    patterns = ("DejaVuSans*.ttf", "DejaVuSerif*.ttf", "STIXGeneral*.ttf", "cm[rst][1st]*.ttf")
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return [file for file in files if "Display" not in file.name]


def render_glyph(glyph: str, faces: list[Path], rng: np.random.Generator) -> Image.Image:
    """Draw one printed digit or letter, RGB, SIZE x SIZE: mostly coarse white ink on black."""
    mask = _glyph_mask(glyph, faces, rng)
    if rng.random() < COARSE:
        return _coarse(mask, 1 if glyph == "1" else 0, rng)
    small = mask.resize((SIZE, SIZE), Image.Resampling.BOX)
    canvas = background(rng).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    ink = 255 if np.asarray(canvas).mean() < 128 else 0
    canvas.paste(Image.new("RGB", canvas.size, (ink,) * 3), mask=small)
    return add_noise(canvas, rng)


def _glyph_mask(glyph: str, faces: list[Path], rng: np.random.Generator) -> Image.Image:
    font = ImageFont.truetype(str(faces[rng.integers(len(faces))]), int(rng.integers(80, 130)))
    mask = Image.new("L", (SCALE * SIZE, SCALE * SIZE), 0)
    half = SCALE * SIZE / 2
    centre = tuple(half + rng.uniform(-10, 10, size=2))
    ImageDraw.Draw(mask).text(centre, glyph, fill=255, font=font, anchor="mm")
    # slanted, turned and stretched as handwriting is
    turn, slant, wide = rng.uniform(-0.2, 0.2), rng.uniform(-0.35, 0.35), rng.uniform(0.8, 1.35)
    matrix = (wide, slant, half * (1 - wide - slant), turn, 1.0, -half * turn)
    return mask.transform(mask.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _coarse(mask: Image.Image, narrow: int, rng: np.random.Generator) -> Image.Image:
    """As coarse as a small scan: the ink fills 8 x 8 cells, enlarged smoothly."""
    width = int(rng.integers(2, 5) if narrow else rng.integers(4, 8))
    ink = mask.crop(mask.getbbox()).resize((width, 8), Image.Resampling.BOX)
    cells = Image.new("L", (8, 8), 0)
    cells.paste(ink, ((8 - width) // 2, 0))
    return Image.merge("RGB", [cells.resize((SIZE, SIZE), Image.Resampling.BICUBIC)] * 3)


def composition(shape: str, colour: str) -> Subject:
    """A coloured shape, e.g. "red-star", "red star"."""
    draw_and_tell = partial(render, shape, colour), partial(tell, shape, colour)
    return Subject(f"{colour}-{shape}", f"{colour} {shape}", *draw_and_tell)


def glyph_subject(class_id: str, name: str, glyph: str, faces: list[Path]) -> Subject:
    """A printed digit or letter."""
    draw = partial(render_glyph, glyph, faces)
    return Subject(class_id, name, draw, lambda rng: f"a photo of the printed {name}")


def letters() -> list[Subject]:
    """The printed letters, e.g. "letter-a", "letter a"."""
    faces = fonts()
    return [
        glyph_subject(f"letter-{glyph.lower()}", f"letter {glyph.lower()}", glyph, faces)
        for glyph in LETTERS
    ]


def digits() -> list[Subject]:
    """The printed digits, e.g. "digit-7", "digit seven"."""
    faces = fonts()
    return [
        glyph_subject(f"digit-{value}", f"digit {name}", str(value), faces)
        for value, name in enumerate(DIGITS)
    ]

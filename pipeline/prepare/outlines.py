"""Outlines of the shapes that are drawn, by name."""

import math
from collections.abc import Callable

Points = list[tuple[float, float]]


def _regular(corners: int, inner: float = 1.0, turn: float = -90.0) -> Points:
    steps = corners if inner == 1.0 else 2 * corners
    radii = [1.0 if i % 2 == 0 else inner for i in range(steps)] if inner != 1.0 else [1.0] * steps
    angles = [math.radians(turn + 360 * i / steps) for i in range(steps)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _heart() -> Points:
    turns = [2 * math.pi * i / 60 for i in range(60)]
    return [
        (
            16 * math.sin(t) ** 3 / 17,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 17,
        )
        for t in turns
    ]


def _shift(points: Points, dx: float, factor: float) -> Points:
    return [(factor * x + dx, factor * y) for x, y in points]


CROSS: Points = [(-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3)]
CROSS += [(-x, -y) for x, y in CROSS]
ARROW: Points = [
    (-1, -0.28),
    (0.1, -0.28),
    (0.1, -0.8),
    (1, 0),
    (0.1, 0.8),
    (0.1, 0.28),
    (-1, 0.28),
]
# each shape: polygons within the unit circle, drawn in turn; 255 draws, 0 cuts out
SHAPES: dict[str, Callable[[], list[tuple[Points, int]]]] = {
    "circle": lambda: [(_regular(48), 255)],
    "square": lambda: [(_regular(4, turn=45), 255)],
    "triangle": lambda: [(_regular(3), 255)],
    "star": lambda: [(_regular(5, inner=0.42), 255)],
    "heart": lambda: [(_heart(), 255)],
    "cross": lambda: [(CROSS, 255)],
    "ring": lambda: [(_regular(48), 255), (_shift(_regular(48), 0, 0.55), 0)],
    "crescent": lambda: [(_regular(48), 255), (_shift(_regular(48), 0.45, 0.8), 0)],
    "arrow": lambda: [(ARROW, 255)],
    "hourglass": lambda: [([(-0.8, -1), (0.8, -1), (-0.8, 1), (0.8, 1)], 255)],
}

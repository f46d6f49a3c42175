"""Clean against robust accuracy: what each model pays for robustness, and which pay least.

The Pareto front joins the models to which no other one is preferable: none is at least as accurate
both on clean images and under attack, and more accurate on one of the two.
"""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from pipeline.report.drawing import LONGEST, Draw, legend, legend_height, model_style

# where a label may stand, from its point: offset in typographic points, which end of it is there
PLACES = (
    (7, 0, "left", "center"), (-7, 0, "right", "center"),
    (0, 7, "center", "bottom"), (0, -7, "center", "top"),
    (5, 5, "left", "bottom"), (-5, 5, "right", "bottom"),
    (5, -5, "left", "top"), (-5, -5, "right", "top"),
    (14, 14, "left", "bottom"), (-14, 14, "right", "bottom"),
    (14, -14, "left", "top"), (-14, -14, "right", "top"),
    (0, 22, "center", "bottom"), (0, -22, "center", "top"),
)  # fmt: skip
MOST_LABELS = 9  # more of them cannot stand beside their points
FAR = 10  # points from which a label is joined to what it names
HALF, HALF_OF_RUN = 5, 3  # half the side of a marker's box, in points


class Point(NamedTuple):
    """A model in the plane of clean and robust accuracy, shares in 0..1; hollow: drawn so; runs:
    those that it is the mean of, drawn small and without a label."""

    title: str
    clean: float
    robust: float
    hollow: bool = False
    runs: tuple[tuple[float, float], ...] = ()


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other dominates, by rising clean accuracy. Equal points are
    all in it."""
    chosen = [
        index
        for index, point in enumerate(points)
        if not any(_dominates(other, point) for other in points)
    ]
    return sorted(chosen, key=lambda index: (points[index].clean, -points[index].robust, index))


def _dominates(one: Point, other: Point) -> bool:
    better = (one.clean > other.clean, one.robust > other.robust)
    return one.clean >= other.clean and one.robust >= other.robust and any(better)


def clean_against_robust(points: Sequence[Point], attack: str) -> tuple[Draw, float]:
    """Every point with its name, beside it or in a legend, and the front; for `drawing.svg`: how to
    draw it, and its height.

    Args:
        points: of models, in an order that decides colour and marker.
        attack: what the robust accuracy is under.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        best = [points[index] for index in front(points)]
        axes.step(
            [100 * point.clean for point in best], [100 * point.robust for point in best],
            where="pre", color="#8a8a8a", linestyle="--", linewidth=1, zorder=1,
        )  # fmt: skip
        for index, point in enumerate(points):
            _draw_point(axes, point, index)
        axes.set(xlabel="clean accuracy [%], mean", ylabel=f"{attack} [%], mean")
        axes.margins(0.12)
        axes.set(title="Clean against robust; dashed: the Pareto front")
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        if named:
            _label(figure, axes, points)
        else:
            legend(figure)

    named = len(points) <= MOST_LABELS
    lines = sum(_wrapped(point.title).count("\n") + 1 for point in points)
    return draw, 4.2 + (0 if named else legend_height(lines + 2))  # columns of unequal height


def _draw_point(axes: Axes, point: Point, index: int) -> None:
    style = model_style(index)
    for clean, robust in point.runs:
        axes.plot(
            100 * clean, 100 * robust, style.marker, color=style.colour, markersize=4,
            markeredgewidth=0, alpha=0.45, zorder=2,
        )  # fmt: skip
    axes.plot(
        100 * point.clean, 100 * point.robust, style.marker, color=style.colour, markersize=7,
        markerfacecolor="white" if point.hollow else style.colour, zorder=3,
        label=_wrapped(point.title),
    )  # fmt: skip


def _label(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Names beside the points, each at the first place where it covers nothing."""
    figure.draw_without_rendering()  # the layout is known only then
    figure.set_layout_engine("none")
    taken = [_box(axes, [(point.clean, point.robust)], HALF) for point in points]
    taken += [_box(axes, [run], HALF_OF_RUN) for point in points for run in point.runs]
    best = [points[index] for index in front(points)]
    for one, next_one in itertools.pairwise(best):  # the steps between them
        corner = (one.clean, next_one.robust)
        taken.append(_box(axes, [(one.clean, one.robust), corner], 1))
        taken.append(_box(axes, [corner, (next_one.clean, next_one.robust)], 1))
    for point in points:
        tried = [(_overlap(box, taken, axes.bbox), box, note) for box, note in _places(axes, point)]
        cost, box, note = min(tried, key=lambda one: one[0])
        for _, _, other in tried:
            if other is not note:
                other.remove()
        taken.append(box)


def _places(axes: Axes, point: Point) -> Iterator[tuple[Bbox, Annotation]]:
    for x, y, horizontal, vertical in PLACES:
        far = max(abs(x), abs(y)) > FAR
        note = axes.annotate(
            _wrapped(point.title), (100 * point.clean, 100 * point.robust), (x, y),
            textcoords="offset points", ha=horizontal, va=vertical, fontsize=8, zorder=4,
            arrowprops={"arrowstyle": "-", "color": "#8a8a8a", "linewidth": 0.6} if far else None,
        )  # fmt: skip
        yield note.get_window_extent(), note


def _wrapped(title: str) -> str:
    """On at most three lines."""
    return "\n".join(textwrap.wrap(title, LONGEST, max_lines=3, placeholder=" …"))


def _box(axes: Axes, corners: Sequence[tuple[float, float]], half: float) -> Bbox:
    """In pixels, around (clean, robust) shares and `half` points further on every side."""
    pixels = axes.transData.transform([(100 * clean, 100 * robust) for clean, robust in corners])
    margin = half * axes.figure.dpi / 72
    (left, low), (right, high) = pixels.min(axis=0) - margin, pixels.max(axis=0) + margin
    return Bbox.from_extents(left, low, right, high)


def _overlap(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """The area in which a box covers others or leaves the axes, in square pixels."""
    shared = [Bbox.intersection(box, other) for other in taken]
    within = Bbox.intersection(box, inside)
    outside = box.width * box.height - (within.width * within.height if within else 0)
    return outside + sum(part.width * part.height for part in shared if part)

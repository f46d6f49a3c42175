"""The plot of clean against robust accuracy, and its front."""

import re

import pytest
from matplotlib.figure import Figure

from pipeline.report import drawing
from pipeline.report.pareto import Point, clean_against_robust, front

NAMED = [
    Point("base", 0.94, 0.03, hollow=True),
    Point("SAFT", 0.61, 0.34, runs=((0.60, 0.33), (0.62, 0.35))),
    Point("AGFT (a <b> & c)", 0.68, 0.37),
    Point("FARE", 0.69, 0.24),
    Point("worse than FARE", 0.69, 0.2),
]


def drawn(points: list[Point] = NAMED) -> Figure:
    draw, height = clean_against_robust(points, "worst case")
    figure = Figure(figsize=(drawing.WIDTH, height), layout="constrained")
    draw(figure)
    return figure


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(0.5, 0.5)], [0]),
        ([(0.5, 0.5), (0.6, 0.4), (0.4, 0.6)], [2, 0, 1]),
        ([(0.5, 0.5), (0.5, 0.4), (0.4, 0.5)], [0]),
        ([(0.5, 0.5), (0.6, 0.6), (0.5, 0.7)], [2, 1]),
        ([(0.5, 0.5), (0.5, 0.5)], [0, 1]),
    ],
)
def test_the_front_is_what_nothing_dominates(
    places: list[tuple[float, float]], expected: list[int]
) -> None:
    assert front([Point("x", *pair) for pair in places]) == expected


def test_every_point_is_labelled_once_and_single_runs_are_drawn_without() -> None:
    [axes] = drawn().axes
    assert sorted(text.get_text() for text in axes.texts) == sorted(p.title for p in NAMED)
    line, *markers = axes.lines
    assert list(line.get_xdata()) == [68.0, 69.0, 94.0], "the front, in percent"
    assert list(line.get_ydata()) == [37.0, 24.0, 3.0]
    assert len(markers) == len(NAMED) + 2
    assert [m.get_markerfacecolor() == "white" for m in markers][0]


def test_no_label_covers_another() -> None:
    figure = drawn()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_more_points_than_labels_have_room_for_stand_in_a_legend() -> None:
    points = [Point(f"SAFT (learning_rate = 1e-{i})", 0.6 + i / 1000, 0.3) for i in range(15)]
    figure = drawn(points)
    assert len(figure.axes[0].texts) == 0
    [legend] = figure.legends
    shown = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    assert shown == [point.title for point in points]
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines[1:]}
    assert len(looks) == len(points), "each has a look of its own"


def test_same_points_same_bytes() -> None:
    plots = [drawing.svg(*clean_against_robust(NAMED, "worst case")) for _ in range(2)]
    assert plots[0] == plots[1]
    assert re.search(rb"<svg .*</svg>", plots[0], re.DOTALL)

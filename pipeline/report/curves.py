"""Curves of the accuracies: along an attack, and over epsilon.

Models come in the order of evaluate.models, which decides their colours and markers.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from pipeline.report.drawing import legend, legend_height, model_style, shortened, svg_uri

LINEAR_STEPS = 20  # beyond, iterates are drawn on a logarithmic axis
MOST_LEVELS = 3  # models whose clean accuracy is a line of its own beside the curve


class Curve(NamedTuple):
    """A model along an attack, shares in 0..1: right so far after each iterate, and clean."""

    title: str
    right: np.ndarray
    clean: float


def attack_curves(name: str, curves: Sequence[Curve]) -> str:
    """Share still right after each iterate (0 is the random start); dotted: clean accuracy."""
    with_levels = len(curves) <= MOST_LEVELS

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, (title, right, clean) in enumerate(curves):
            colour, label = model_style(index).colour, shortened(title)
            if with_levels:
                axes.axhline(100 * clean, color=colour, linestyle=":", label=f"{label}, clean")
            _stepped(axes, right, index, f"{label}, right so far" if with_levels else label)
        last = max(len(curve.right) for curve in curves) - 1
        _iterate_axis(axes, last)
        axes.set(title=f"Along the attack: {name}", ylabel="accuracy [%]")
        axes.set(ylim=(-2, 102), xlim=(0, last), xlabel="iterate of the attack")
        legend(figure)

    return svg_uri(draw, 2.8 + legend_height(len(curves) * (1 + with_levels)))


def epsilon_curves(name: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Accuracy under attack over the radius: by model, (epsilon in 1/255, share right)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, (title, curve) in enumerate(curves.items()):
            style = model_style(index)
            radii, shares = zip(*curve, strict=True)
            axes.plot(
                radii, [100 * share for share in shares], style.marker, linestyle=style.dash,
                color=style.colour, label=shortened(title), clip_on=False,
            )  # fmt: skip
        axes.set(title=f"Over epsilon: {name}", xlabel="epsilon [1/255]")
        axes.set(ylabel="accuracy [%]", ylim=(-2, 102), xlim=(0, None))
        legend(figure)

    return svg_uri(draw, 2.8 + legend_height(len(curves)))


def _stepped(axes: Axes, right: np.ndarray, index: int, label: str) -> None:
    """The curve, with its marker at its end: dashes alone tell four models apart."""
    style = model_style(index)
    axes.step(
        np.arange(len(right)), 100 * right, where="post", color=style.colour,
        linestyle=style.dash, linewidth=1.8, label=label, marker=style.marker, markersize=5,
        markevery=[len(right) - 1], clip_on=False,
    )  # fmt: skip


def _iterate_axis(axes: Axes, last: int) -> None:
    if last > LINEAR_STEPS:
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([t for t in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500) if t <= last])
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

"""Figures of the accuracies: over data sets, over iterates, over epsilon."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from pipeline.report.drawing import BASE, TUNED, svg_uri
from pipeline.results.statistics import Share

LINEAR_STEPS = 20  # beyond, iterates are drawn on a logarithmic axis


class AccuracyBar(NamedTuple):
    """One data set in a bar chart."""

    name: str
    base: Share
    tuned: Share


class AccuracyDrop(NamedTuple):
    """One data set on the way from the base model to the attacked models, shares in 0..1."""

    name: str
    clean_base: float
    clean_tuned: float
    robust_base: float
    robust_tuned: float


def accuracy_bars(bars: Sequence[AccuracyBar], title: str) -> str:
    """Base and fine-tuned side by side for every data set, with 95 % intervals."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        positions = np.arange(len(bars))
        _bars(axes, positions - 0.19, [bar.base for bar in bars], "base", BASE, "")
        _bars(axes, positions + 0.19, [bar.tuned for bar in bars], "fine-tuned", TUNED, "///")
        _dataset_rows(axes, [bar.name for bar in bars])
        axes.set(title=title, xlabel="accuracy [%], with 95 % Wilson interval")
        figure.legend(loc="outside lower center", ncols=2)

    return svg_uri(draw, 1.5 + 0.5 * len(bars))


def accuracy_drop(drops: Sequence[AccuracyDrop]) -> str:
    """Per data set: clean base, clean fine-tuned, and both under attack, on one line."""
    series = (
        ("clean_base", "base, clean", "o", BASE, "white"),
        ("clean_tuned", "fine-tuned, clean", "o", TUNED, TUNED),
        ("robust_base", "base, attacked", "D", BASE, "white"),
        ("robust_tuned", "fine-tuned, attacked", "D", TUNED, TUNED),
    )

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, drop in enumerate(drops):
            shares = [100 * value for value in drop[1:]]
            axes.plot([min(shares), max(shares)], [row, row], color="#bbbbbb", linewidth=1.2)
        for field, label, marker, colour, fill in series:
            values = [100 * getattr(drop, field) for drop in drops]
            axes.plot(
                values, range(len(drops)), marker, label=label, color=colour,
                markerfacecolor=fill, markersize=7, markeredgewidth=1.5, clip_on=False,
            )  # fmt: skip
        _dataset_rows(axes, [drop.name for drop in drops])
        axes.set(title="From clean to attacked", xlabel="accuracy [%]")
        figure.legend(loc="outside lower center", ncols=2)

    return svg_uri(draw, 1.7 + 0.4 * len(drops))


def attack_curve(name: str, base: np.ndarray, tuned: np.ndarray, clean: tuple[float, float]) -> str:
    """Share still right after each iterate (0 is the random start); dotted: clean accuracy."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        steps = np.arange(len(base))
        models = (("base", base, clean[0], BASE, "--"), ("fine-tuned", tuned, clean[1], TUNED, "-"))
        for label, curve, level, colour, dash in models:
            axes.axhline(100 * level, color=colour, linestyle=":", label=f"{label}, clean image")
            axes.step(
                steps, 100 * curve, where="post", color=colour, linestyle=dash, linewidth=1.8,
                label=f"{label}, right so far",
            )  # fmt: skip
        if len(base) - 1 > LINEAR_STEPS:
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xticks([t for t in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500) if t < len(base)])
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(
            title=f"Along the attack: {name}", xlabel="iterate of the attack", ylabel="accuracy [%]"
        )
        axes.set(ylim=(-2, 102), xlim=(0, len(base) - 1))
        figure.legend(loc="outside lower center", ncols=2)

    return svg_uri(draw, 3.2)


def epsilon_curve(
    name: str, base: Sequence[tuple[float, float]], tuned: Sequence[tuple[float, float]]
) -> str:
    """Accuracy under attack over the radius: pairs of (epsilon in 1/255, share right)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        models = (("base", base, BASE, "--", "o"), ("fine-tuned", tuned, TUNED, "-", "D"))
        for label, curve, colour, dash, marker in models:
            radii, shares = zip(*curve, strict=True)
            axes.plot(
                radii, [100 * s for s in shares], marker, linestyle=dash, color=colour,
                label=label, clip_on=False,
            )  # fmt: skip
        axes.set(title=f"Over epsilon: {name}", xlabel="epsilon [1/255]")
        axes.set(ylabel="accuracy [%]", ylim=(-2, 102), xlim=(0, None))
        figure.legend(loc="outside lower center", ncols=2)

    return svg_uri(draw, 3.0)


def _bars(
    axes: Axes, positions: np.ndarray, shares: Sequence[Share], label: str, colour: str, hatch: str
) -> None:
    values = np.array([share.value for share in shares])
    error = np.abs(np.array([[s.low, s.high] for s in shares]).T - values)
    axes.barh(
        positions,
        100 * values,
        height=0.36,
        label=label,
        color=colour,
        hatch=hatch,
        edgecolor="white",
        xerr=100 * error,
        error_kw={"ecolor": "#222222", "elinewidth": 1, "capsize": 2},
    )


def _dataset_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [n if len(n) <= 18 else f"{n[:17]}…" for n in names])
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 100))
    axes.grid(axis="y", visible=False)

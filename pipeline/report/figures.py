"""Figures and pictures of the report, as data URIs that need no other file.

Same data, same bytes: no pyplot state, no date, a fixed hash salt, text drawn as paths.
Colours are from the Okabe-Ito palette; every series also differs in marker, hatch or dash.
Each figure is narrow enough that its text stays readable at the width of a phone.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter
from PIL import Image

from pipeline.results.statistics import Share

BASE, TUNED = "#D55E00", "#0072B2"
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
WIDTH = 4.6  # inches
BINS = 200  # most points per training curve; longer runs are averaged
BARS = 40  # most steps of a histogram
LINEAR_STEPS = 20  # beyond, iterates are drawn on a logarithmic axis
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "report",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "text.parse_math": False,  # a data set may have a $ in its name
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


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

    return _svg(draw, 1.5 + 0.5 * len(bars))


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

    return _svg(draw, 1.7 + 0.4 * len(drops))


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

    return _svg(draw, 3.2)


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

    return _svg(draw, 3.0)


def loss_curves(log: Mapping[str, np.ndarray], columns: Sequence[str]) -> str:
    """One panel per column: loss terms differ in scale, so they share only the step axis."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(columns), sharex=True, squeeze=False)[:, 0]
        for axes, column, colour in zip(panels, columns, _cycle(LINES, len(columns)), strict=True):
            _curve(axes, log["step"], log[column], colour, "-", None)
            axes.set_title(column.replace("_", " "), loc="left")
            axes.yaxis.set_major_locator(MaxNLocator(4))
        panels[-1].set_xlabel("optimiser step")
        figure.supylabel("value (dimensionless)", fontsize=9)

    return _svg(draw, 0.7 + 1.25 * len(columns))


def accuracy_curves(log: Mapping[str, np.ndarray], columns: Sequence[str]) -> str:
    """Accuracies of the training batches in one panel."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, column in enumerate(columns):
            dash, label = DASHES[index % len(DASHES)], column.replace("_", " ")
            _curve(axes, log["step"], 100 * log[column], LINES[index % len(LINES)], dash, label)
        axes.set(title="Accuracy on the training batches", xlabel="optimiser step")
        axes.set(ylabel="accuracy [%]", ylim=(-2, 102))
        figure.legend(loc="outside lower center", ncols=2)

    return _svg(draw, 3.0)


def learning_rate_curve(log: Mapping[str, np.ndarray]) -> str:
    """The learning rate over the steps."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(log["step"], log["learning_rate"], color="#333333")
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        axes.set(xlabel="optimiser step", ylabel="learning rate", ylim=(0, None))
        axes.set_title("Learning rate", loc="right")  # the factor 10^n stands on the left

    return _svg(draw, 2.2)


def score_histogram(kept: np.ndarray, dropped: np.ndarray, lowest: float | None) -> str:
    """Cosines of kept and of dropped sentences over the same steps; `lowest`: the threshold."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        scores = np.concatenate([kept, dropped])
        edges = MaxNLocator(BARS, steps=[1, 2, 5, 10]).tick_values(scores.min(), scores.max())
        heights = [np.histogram(values, edges)[0] for values in (kept, dropped)]
        axes.stairs(
            heights[1], edges, label=f"dropped ({len(dropped)})", color=BASE, linestyle="--",
            linewidth=1.4, fill=False, hatch="////",
        )  # fmt: skip
        axes.stairs(
            heights[0], edges, label=f"kept ({len(kept)})", facecolor=f"{TUNED}55",
            edgecolor=TUNED, linewidth=1.8, fill=True,
        )  # fmt: skip
        if lowest is not None:
            axes.axvline(lowest, color="#222222", linestyle=":", label="lowest allowed")
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
        axes.set(title="How close the sentences are", ylabel="sentences", ylim=(0, None))
        axes.set(xlabel="cosine with the reference of the class")
        figure.legend(loc="outside lower center", ncols=3)

    return _svg(draw, 3.0)


def picture(pixels: np.ndarray) -> str:
    """PNG of float (3, S, S) pixels in [0, 1], at their own size."""
    rows = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rows)).save(buffer, format="PNG", optimize=True)
    return _data_uri("image/png", buffer.getvalue())


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


def _curve(
    axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, dash: str, label: str | None
) -> None:
    """The mean line; where steps are averaged, a band from their lowest to their highest."""
    size = -(-len(steps) // BINS)
    parts = [slice(start, start + size) for start in range(0, len(steps), size)]
    middle = [steps[part].mean() for part in parts]
    if size > 1:
        low, high = [values[p].min() for p in parts], [values[p].max() for p in parts]
        axes.fill_between(middle, low, high, color=colour, alpha=0.2, linewidth=0)
    mean = [values[part].mean() for part in parts]
    axes.plot(middle, mean, color=colour, linestyle=dash, linewidth=1.5, label=label)


def _cycle(colours: Sequence[str], count: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(count)]


def svg(draw: Callable[[Figure], Any], height: float) -> bytes:
    """Draw on a fresh figure of `height` inches under our style, whatever the user's is."""
    buffer = io.BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _svg(draw: Callable[[Figure], Any], height: float) -> str:
    return _data_uri("image/svg+xml", svg(draw, height))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"

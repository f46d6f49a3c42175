"""Figures of the training and of the filter: curves over the steps, a histogram of scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report.drawing import BLUE, DASHES, LINES, RED, cycle, svg_uri

BINS = 200  # most points per training curve; longer runs are averaged
BARS = 40  # most steps of a histogram


def loss_curves(log: Mapping[str, np.ndarray], columns: Sequence[str]) -> str:
    """One panel per column: loss terms differ in scale, so they share only the step axis."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(columns), sharex=True, squeeze=False)[:, 0]
        for axes, column, colour in zip(panels, columns, cycle(LINES, len(columns)), strict=True):
            averaged_curve(axes, log["step"], log[column], colour, "-", None)
            axes.set_title(column.replace("_", " "), loc="left")
            axes.yaxis.set_major_locator(MaxNLocator(4))
        panels[-1].set_xlabel("optimiser step")
        figure.supylabel("value (dimensionless)", fontsize=9)

    return svg_uri(draw, 0.7 + 1.25 * len(columns))


def accuracy_curves(log: Mapping[str, np.ndarray], columns: Sequence[str]) -> str:
    """Accuracies of the training batches in one panel."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, column in enumerate(columns):
            dash, label = DASHES[index % len(DASHES)], column.replace("_", " ")
            averaged_curve(
                axes, log["step"], 100 * log[column], LINES[index % len(LINES)], dash, label
            )
        axes.set(title="Accuracy on the training batches", xlabel="optimiser step")
        axes.set(ylabel="accuracy [%]", ylim=(-2, 102))
        figure.legend(loc="outside lower center", ncols=2)

    return svg_uri(draw, 3.0)


def validation_curves(validated: Mapping[str, np.ndarray]) -> str:
    """Accuracies on the validation set; a marker for each time it was measured."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        measures = [name for name in validated if name != "step"]
        for name, colour, dash in zip(measures, LINES, DASHES, strict=False):
            shares = 100 * validated[name]
            axes.plot(
                validated["step"], shares, marker="o", markersize=3, color=colour,
                linestyle=dash, linewidth=1.5, label=name,
            )  # fmt: skip
        axes.set(title="Accuracy on the validation set", xlabel="optimiser step")
        axes.set(ylabel="accuracy [%]", ylim=(-2, 102))
        figure.legend(loc="outside lower center", ncols=2)

    return svg_uri(draw, 3.0)


def learning_rate_curve(log: Mapping[str, np.ndarray]) -> str:
    """The learning rate over the steps."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(log["step"], log["learning_rate"], color="#333333")
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        axes.set(xlabel="optimiser step", ylabel="learning rate", ylim=(0, None))
        axes.set_title("Learning rate", loc="right")  # the factor 10^n stands on the left

    return svg_uri(draw, 2.2)


def score_histogram(kept: np.ndarray, dropped: np.ndarray, lowest: float | None) -> str:
    """Cosines of kept and of dropped sentences over the same steps; `lowest`: the threshold."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        scores = np.concatenate([kept, dropped])
        edges = MaxNLocator(BARS, steps=[1, 2, 5, 10]).tick_values(scores.min(), scores.max())
        heights = [np.histogram(values, edges)[0] for values in (kept, dropped)]
        axes.stairs(
            heights[1], edges, label=f"dropped ({len(dropped)})", color=RED, linestyle="--",
            linewidth=1.4, fill=False, hatch="////",
        )  # fmt: skip
        axes.stairs(
            heights[0], edges, label=f"kept ({len(kept)})", facecolor=f"{BLUE}55",
            edgecolor=BLUE, linewidth=1.8, fill=True,
        )  # fmt: skip
        if lowest is not None:
            axes.axvline(lowest, color="#222222", linestyle=":", label="lowest allowed")
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
        axes.set(title="How close the sentences are", ylabel="sentences", ylim=(0, None))
        axes.set(xlabel="cosine with the reference of the class")
        figure.legend(loc="outside lower center", ncols=3)

    return svg_uri(draw, 3.0)


def averaged_curve(
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

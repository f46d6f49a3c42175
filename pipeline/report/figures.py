"""Figures of the accuracies over data sets.

Models come in the order of evaluate.models, which decides their colours and markers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.drawing import legend, legend_height, model_style, shortened, svg_uri
from pipeline.results.statistics import Share

MOST_BARS = 4  # models side by side as bars; more are dots


def accuracy_chart(sets: Mapping[str, Sequence[Share]], models: Sequence[str], title: str) -> str:
    """All models for every data set: bars with 95 % intervals, or dots where they are many.

    Args:
        sets: by data set, the models' shares.
        models: their titles.
    """
    draw_model = _bars if len(models) <= MOST_BARS else _dots

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index in range(len(models)):
            draw_model(axes, [shares[index] for shares in sets.values()], index, models)
        _dataset_rows(axes, list(sets))
        interval = ", with 95 % Wilson interval" if draw_model is _bars else ""
        axes.set(title=title, xlabel=f"accuracy [%]{interval}")
        legend(figure)

    row = 0.5 if len(models) <= 2 else 0.1 + 0.2 * len(models)
    row = row if draw_model is _bars else 0.2 + 0.04 * len(models)
    return svg_uri(draw, 1.3 + row * len(sets) + legend_height(len(models)))


def accuracy_drop(sets: Mapping[str, Sequence[tuple[float, float]]], models: Sequence[str]) -> str:
    """Per data set the clean and the robust accuracy of every model, on one line.

    Args:
        sets: by data set, (clean, robust) of the models, shares in 0..1.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, pairs in enumerate(sets.values()):
            shares = [100 * value for pair in pairs for value in pair]
            axes.plot([min(shares), max(shares)], [row, row], color="#bbbbbb", linewidth=1.2)
        for side, kind in enumerate(("clean", "attacked")):
            for index, model in enumerate(models):
                style = model_style(index)
                axes.plot(
                    [100 * pairs[index][side] for pairs in sets.values()], range(len(sets)),
                    style.marker, label=f"{shortened(model)}, {kind}", color=style.colour,
                    markerfacecolor=style.colour if side else "white", markersize=7,
                    markeredgewidth=1.5, clip_on=False,
                )  # fmt: skip
        _dataset_rows(axes, list(sets))
        axes.set(title="From clean to attacked", xlabel="accuracy [%]")
        legend(figure)

    return svg_uri(draw, 1.3 + 0.4 * len(sets) + legend_height(2 * len(models)))


def _bars(axes: Axes, shares: Sequence[Share], index: int, models: Sequence[str]) -> None:
    values = np.array([share.value for share in shares])
    error = np.abs(np.array([[s.low, s.high] for s in shares]).T - values)
    pitch, style = 0.76 / len(models), model_style(index)
    axes.barh(
        np.arange(len(shares)) + pitch * (index - (len(models) - 1) / 2),
        100 * values,
        height=min(0.5, pitch - 0.02),
        label=shortened(models[index]),
        color=style.colour,
        hatch=style.hatch,
        edgecolor="white",
        xerr=100 * error,
        error_kw={"ecolor": "#222222", "elinewidth": 1, "capsize": 2},
    )


def _dots(axes: Axes, shares: Sequence[Share], index: int, models: Sequence[str]) -> None:
    """Each model a little below the one before, so that equal ones do not cover each other."""
    style, pitch = model_style(index), 0.7 / len(models)
    rows = np.arange(len(shares)) + pitch * (index - (len(models) - 1) / 2)
    axes.plot(
        [100 * share.value for share in shares], rows, style.marker, color=style.colour,
        markerfacecolor="none", markeredgewidth=1.3, markersize=5.5,
        label=shortened(models[index]), clip_on=False,
    )  # fmt: skip


def _dataset_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [n if len(n) <= 18 else f"{n[:17]}…" for n in names])
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 100))
    axes.grid(axis="y", visible=False)

"""The reliability figure: accuracy over confidence, clean and attacked."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.drawing import legend, legend_height, model_style, shortened, svg_uri
from pipeline.results.calibration import Bin, reliability_table
from pipeline.results.confidence import STATES, confidences
from pipeline.results.evaluated import EvaluatedSet, model_title

PANELS = {"clean": "clean", "adversarial": "attacked"}


class Reliability(NamedTuple):
    """A model: its title, its place in evaluate.models (`position`), and its bins by state."""

    title: str
    position: int
    bins: Mapping[str, list[Bin]]


def reliability_figure(sets: Sequence[EvaluatedSet], models: Sequence[str]) -> str:
    """Of `models`, over the images of all sets together."""
    return reliability_chart([_reliability(sets, model) for model in models])


def reliability_chart(models: Sequence[Reliability]) -> str:
    """A panel for each state; a marker is as large as its bin has images, and a calibrated model
    is on the diagonal."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(STATES), sharey=True, gridspec_kw={"wspace": 0.08})
        for axes, state in zip(panels, STATES, strict=True):
            axes.plot([0, 100], [0, 100], color="#aaaaaa", linewidth=1)
            for model in models:
                _curve(axes, model, state)
            axes.set(title=PANELS[state], xlabel="confidence [%]", aspect="equal")
            axes.set(xlim=(0, 100), ylim=(0, 100), xticks=[0, 50, 100])
        panels[0].set(ylabel="accuracy [%]", yticks=[0, 25, 50, 75, 100])
        legend(figure)

    return svg_uri(draw, 2.7 + legend_height(len(models)))


def _reliability(sets: Sequence[EvaluatedSet], model: str) -> Reliability:
    bins = {}
    for state in STATES:
        pairs = [confidences(evaluated, model, state) for evaluated in sets]
        confidence, right = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
        bins[state] = reliability_table(confidence, right)
    return Reliability(model_title(model), sets[0].models.index(model), bins)


def _curve(axes: Axes, model: Reliability, state: str) -> None:
    filled = [
        (100 * b.confidence, 100 * b.accuracy, b.images)
        for b in model.bins[state]
        if b.confidence is not None and b.accuracy is not None
    ]
    confidence, accuracy, images = map(np.array, zip(*filled, strict=True))
    style = model_style(model.position)
    axes.plot(confidence, accuracy, color=style.colour, linestyle=style.dash, linewidth=1)
    axes.scatter(
        confidence, accuracy, s=8 + 90 * images / images.sum(), c=style.colour, marker=style.marker,
        label=shortened(model.title) if state == STATES[0] else None, clip_on=False, zorder=3,
    )  # fmt: skip

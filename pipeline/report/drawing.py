"""How the report draws: figures as SVG and pictures as PNG, as data URIs that need no other file.

Same data, same bytes: no pyplot state, no date, a fixed hash salt, text drawn as paths.
Colours are from the Okabe-Ito palette, then others; every series also differs in marker, hatch or
dash.
Each figure is narrow enough that its text stays readable at the width of a phone.
"""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

Draw = Callable[[Figure], None]
RED, BLUE = "#D55E00", "#0072B2"
LINES = (BLUE, RED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
MODEL_DASHES = ("--", "-", "-.", ":")
MODELS = (
    RED, BLUE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
    "#222222", "#6A3D9A", "#7F4F24", "#808000", "#8A8A8A", "#8B0A1A",
)  # fmt: skip
MARKERS = "oDs^vP*X<>phd"  # 13, so that a colour meets a marker again after 156 models
HATCHES = ("", "///", "...", "xxx")
LONGEST = 22  # characters of a name in a figure
WIDTH = 4.6  # inches
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


class SeriesStyle(NamedTuple):
    """How a model is drawn, wherever it is."""

    colour: str
    marker: str
    hatch: str
    dash: str


def model_style(index: int) -> SeriesStyle:
    """Of the model at a place of evaluate.models."""
    return SeriesStyle(
        MODELS[index % len(MODELS)],
        MARKERS[index % len(MARKERS)],
        HATCHES[index % len(HATCHES)],
        MODEL_DASHES[index % len(MODEL_DASHES)],
    )


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def svg(draw: Draw, height: float) -> bytes:
    """Draw on a fresh figure of `height` inches under our style, whatever the user's is."""
    buffer = io.BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def svg_uri(draw: Draw, height: float) -> str:
    return _data_uri("image/svg+xml", svg(draw, height))


def legend(figure: Figure) -> None:
    """Below the axes, in two columns."""
    figure.legend(loc="outside lower center", ncols=2)


def legend_height(labels: int) -> float:
    """Inches of a legend of two columns."""
    return 0.19 * -(-labels // 2)


def picture(pixels: np.ndarray) -> str:
    """PNG of float (3, S, S) pixels in [0, 1], at their own size."""
    rows = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rows)).save(buffer, format="PNG", optimize=True)
    return _data_uri("image/png", buffer.getvalue())


def cycle(colours: Sequence[str], count: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(count)]


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"

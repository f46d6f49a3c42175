"""How the report draws: figures as SVG and pictures as PNG, as data URIs that need no other file.

Same data, same bytes: no pyplot state, no date, a fixed hash salt, text drawn as paths.
Colours are from the Okabe-Ito palette; every series also differs in marker, hatch or dash.
Each figure is narrow enough that its text stays readable at the width of a phone.
"""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

BASE, TUNED = "#D55E00", "#0072B2"
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
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


def svg_uri(draw: Callable[[Figure], Any], height: float) -> str:
    return _data_uri("image/svg+xml", svg(draw, height))


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

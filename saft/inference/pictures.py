"""Attacked images as PNG files, and all of them on one sheet."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pipeline.report.attention import overlay
from pipeline.report.drawing import STYLE, shortened
from pipeline.report.examples import amplification
from saft.inference.attacking import Attacked, rounded

PANEL = 1.9  # inches


class Panel(NamedTuple):
    """A picture of the sheet, uint8 (S, S, 3), and what stands above it."""

    title: str
    pixels: np.ndarray


def rows_of(pixels: np.ndarray) -> np.ndarray:
    """uint8 (3, S, S) as rows of an image file, (S, S, 3)."""
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def difference(attacked: Attacked, epsilon_255: float) -> np.ndarray:
    """uint8 (S, S, 3): what was added, magnified around mid-grey."""
    magnified = 0.5 + amplification(epsilon_255) * attacked.change
    return rows_of(rounded(magnified))


def overlaid(pixels: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """uint8 (S, S, 3): a map over an image in [0, 1]; see `pipeline.report.attention`."""
    return rows_of(rounded(overlay(pixels, attention)))


def files(attacked: Attacked, epsilon_255: float) -> dict[str, np.ndarray]:
    """The PNG files of one model, by name, uint8 (S, S, 3)."""
    return {
        "image.png": rows_of(attacked.image),
        "adversarial.png": rows_of(attacked.rounded),
        "difference.png": difference(attacked, epsilon_255),
        "attention-before.png": overlaid(attacked.image / 255, attacked.attention_before),
        "attention-after.png": overlaid(attacked.rounded / 255, attacked.attention_after),
    }


def write_model(folder: Path, attacked: Attacked, epsilon_255: float) -> None:
    """Write the files of one model, and the adversarial pixels as they are, float32 (3, S, S)."""
    folder.mkdir()
    for name, pixels in files(attacked, epsilon_255).items():
        Image.fromarray(pixels).save(folder / name)
    np.save(folder / "adversarial.npy", attacked.adversarial)


def panels(attacked: Attacked, epsilon_255: float, before: str, after: str) -> Sequence[Panel]:
    """A row of the sheet. before, after: what the model says of the image, and of the attacked."""
    pixels = list(files(attacked, epsilon_255).values())
    titles = (
        f"image\n{before}",
        f"attacked\n{after}",
        f"change ×{amplification(epsilon_255)}\n",
        "attention, image\n",
        "attention, attacked\n",
    )
    return [Panel(title, rows) for title, rows in zip(titles, pixels, strict=True)]


def write_sheet(path: Path, rows: Mapping[str, Sequence[Panel]], title: str) -> None:
    """Draw a row of panels for each model, by its name."""
    columns = max(len(row) for row in rows.values())
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        size = (PANEL * columns + 0.3, (PANEL + 0.4) * len(rows) + 0.3)
        figure = Figure(figsize=size, layout="constrained", dpi=150)
        figure.suptitle(title, fontsize=10)
        grid: Any = figure.subplots(len(rows), columns, squeeze=False)
        for axes, (name, row) in zip(grid, rows.items(), strict=True):
            axes[0].set_ylabel(shortened(name))
            for axis, panel in zip(axes, row, strict=True):
                axis.imshow(panel.pixels, interpolation="nearest")
                axis.set_title(panel.title, fontsize=8)
                axis.set(xticks=[], yticks=[])
                axis.grid(visible=False)
                axis.spines[:].set_visible(False)
        with warnings.catch_warnings():  # boxes for letters of other scripts; attack.json has them
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(path, format="png", metadata={"Software": None})

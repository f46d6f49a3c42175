"""Attention maps as pictures of the image they are of; float32 pixels in [0, 1], S a side."""

import matplotlib as mpl
import numpy as np
from PIL import Image

COLOURS = "magma"  # of attention: dark is 0, light is 1
CHANGES = "RdBu_r"  # of a change: blue is -1, white 0, red 1
OPACITY = 0.6  # of the map over the grey image
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def upsampled(attention: np.ndarray, side: int) -> np.ndarray:
    """float32 (S, S): a map (rows, columns) of a patch grid, bilinearly, as
    `F.interpolate(..., align_corners=False)` does."""
    grid = Image.fromarray(attention.astype(np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BILINEAR))


def overlay(image: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """float (3, S, S): attention (S, S) in [0, 1] as colours over the greys of an image."""
    grey = np.tensordot(LUMA, image, 1)
    return OPACITY * _coloured(COLOURS, attention) + (1 - OPACITY) * grey


def change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float (3, S, S): the difference of two maps (S, S) as colours."""
    return _coloured(CHANGES, (1 + after - before) / 2)


def moved(before: np.ndarray, after: np.ndarray) -> float:
    """Root mean square of the difference of two maps (S, S) in [0, 1], in [0, 1]."""
    return float(np.sqrt(np.mean((after - before) ** 2)))


def _coloured(name: str, values: np.ndarray) -> np.ndarray:
    return mpl.colormaps[name](values)[..., :3].transpose(2, 0, 1)

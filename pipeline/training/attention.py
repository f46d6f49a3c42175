"""Text-guided attention maps and the distance between them.

Source: TGA-ZSR (Yu et al. 2024, eq. 6-7) as released with SAFT. Legend for shapes:
B images, T patch tokens (row-major over the grid), D joint width, S pixels.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

TokenNorm = Literal["token", "channel"]
AXES = {"token": 1, "channel": 2}
EPS = 1e-12


def attention_map(tokens: Tensor, text: Tensor, norm: TokenNorm = "token") -> Tensor:
    """Where an image agrees with its class text, min-max normalised per image.

    Args:
        tokens: (B, 1 + T, D) class token and patch tokens after `ln_post` and projection.
        text: (B, D) the class text of each image. For K captions pass their mean: the map
            is linear in the text, so this equals the mean of the K maps before min-max.
        norm: the axis that patch features are normalised over. "token", class token included:
            a quirk of TGA-ZSR that SAFT keeps (helper.py, attention map), and that its published
            weights 0.08 and 0.05 belong to. "channel": every patch has unit norm, and the map
            is its cosine with the text.

    Returns:
        (B, T) in [0, 1]; all zeros for an image whose map is constant.
    """
    patches = tokens[:, 1:]
    measured = tokens if norm == "token" else patches
    scaled = patches / measured.norm(dim=AXES[norm], keepdim=True).clamp_min(EPS)
    similarity = torch.einsum("btd,bd->bt", scaled, text)
    low = similarity.amin(1, keepdim=True)
    spread = similarity.amax(1, keepdim=True) - low
    return (similarity - low) / spread.clamp_min(EPS)


def upsampling(grid: int, size: int) -> Tensor:
    """U (size, grid), float32: the 1-D bilinear upsampling (align_corners False) from `grid` to
    `size` samples. Two-dimensional upsampling is U m U^T, two products of matrices: unlike an
    interpolation its backward is deterministic on CUDA."""
    return _upsampling(grid, size).float()


def upsampling_factor(grid: int, size: int) -> Tensor:
    """Lower-triangular L (grid, grid), float32, with |U v| = |L^T v| for U the `upsampling`.

    The Frobenius norm of an upsampled map U m U^T is |L^T m L|: the size x size map never needs to
    exist.
    """
    upsample = _upsampling(grid, size)
    return torch.linalg.cholesky(upsample.T @ upsample).float()


def _upsampling(grid: int, size: int) -> Tensor:
    identity = torch.eye(grid, dtype=torch.float64)[None]
    return F.interpolate(identity, size=size, mode="linear", align_corners=False)[0].T


def upsampled(maps: Tensor, upsampling: Tensor) -> Tensor:
    """(..., size, size) maps of (..., T) maps of a square patch grid; `upsampling` is U."""
    side = upsampling.shape[1]
    return upsampling @ maps.unflatten(-1, (side, side)) @ upsampling.T


def map_distance(first: Tensor, second: Tensor, factor: Tensor) -> Tensor:
    """Mean over images of the l2 norm (not squared) between maps upsampled to the image.

    Args:
        first, second: (B, T) maps of a square patch grid.
        factor: `upsampling_factor(grid, image size)`.
    """
    side = factor.shape[0]
    difference = (first - second).reshape(-1, side, side)
    return (factor.T @ difference @ factor).flatten(1).norm(dim=1).mean()

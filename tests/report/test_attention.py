"""Attention maps as pictures."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.report.attention import change, moved, overlay, upsampled

SIDE = 24


@pytest.fixture
def maps() -> np.ndarray:
    """Two maps of a grid that is no divisor of the image's side, as they are stored."""
    return np.random.default_rng(0).random((2, 5, 7)).astype(np.float16)


def test_a_map_is_upsampled_as_torch_does(maps: np.ndarray) -> None:
    for grid in maps:
        tensor = torch.from_numpy(grid).float()[None, None]
        expected = F.interpolate(tensor, size=SIDE, mode="bilinear", align_corners=False)
        np.testing.assert_allclose(upsampled(grid, SIDE), expected[0, 0].numpy(), atol=1e-5)


def test_colours_are_in_range_and_the_image_is_seen_below_the_map() -> None:
    image = np.random.default_rng(1).random((3, SIDE, SIDE))
    flat = np.zeros((SIDE, SIDE), dtype=np.float32)
    dark, light = overlay(image, flat), overlay(image, flat + 1)
    assert dark.shape == (3, SIDE, SIDE)
    assert 0 <= dark.min() <= light.max() <= 1
    assert (light > dark).all()
    # a colour of one map is the same everywhere: what varies is the grey of the image, a part of it
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    shown = np.stack([0.4 * (grey - grey[0, 0])] * 3)
    np.testing.assert_allclose(dark - dark[:, :1, :1], shown, atol=1e-6)


def test_a_change_is_white_where_there_is_none_red_for_more_and_blue_for_less() -> None:
    before, after = (np.array([row], dtype=np.float32) for row in ([0.5, 0, 1], [0.5, 1, 0]))
    red, green, blue = change(before, after)[:, 0]
    assert min(red[0], green[0], blue[0]) > 0.95
    assert red[1] > 1.5 * max(green[1], blue[1])
    assert blue[2] > 1.5 * max(green[2], red[2])


def test_moved_is_a_root_mean_square(maps: np.ndarray) -> None:
    before, after = (upsampled(grid, SIDE) for grid in maps)
    assert moved(before, before) == 0
    assert moved(before, after) == pytest.approx(np.linalg.norm(after - before) / SIDE)
    assert moved(0 * before, 0 * before + 1) == 1

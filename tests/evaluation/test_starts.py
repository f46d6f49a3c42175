"""Random starts: exact, even, and of one image alone."""

import numpy as np
import pytest
import torch

from pipeline.evaluation.interface import Settings
from pipeline.evaluation.starts import mixed, random_starts, start_noise, stream_keys
from tests.support.classifiers import CPU, settings

SHAPE = (3, 6, 6)
RADII = {"linf": 4 / 255, "l2": 0.5}
WORD = (1 << 64) - 1


def noise(numbers: list[int], s: Settings, round_: int = 0) -> np.ndarray:
    rounds = np.full(len(numbers), round_)
    return start_noise(np.array(numbers), SHAPE, s, rounds, CPU).numpy()


def splitmix(state: int) -> int:
    """The published generator's output, in Python's whole numbers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
    return state ^ (state >> 31)


def test_the_generator_is_splitmix64():
    states = [0, 1, 0x9E3779B97F4A7C15, WORD, 1 << 63, 123456789123456789]
    signed = torch.tensor([s - (1 << 64) if s >> 63 else s for s in states])
    assert [value & WORD for value in mixed(signed).tolist()] == [splitmix(s) for s in states]
    # the first three outputs for seed 0 as the authors' C code gives them
    increments = [(0x9E3779B97F4A7C15 * i) & WORD for i in (1, 2, 3)]
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [splitmix(state) for state in increments] == expected


def test_values_of_a_cube_are_the_top_bits_of_the_stream():
    s = settings(1, epsilon=1.0, seed=7)
    key = stream_keys(7, np.array([0]), np.array([5])).item()
    values = noise([5], s).flatten()
    for position in (0, 1, 107):
        word = splitmix((key + (position + 1) * 0x9E3779B97F4A7C15) & WORD)
        assert values[position] == np.float32((word >> 40) / 2**23 - 1)


@pytest.mark.parametrize("norm", RADII)
def test_starts_depend_on_number_seed_and_round_only(norm):
    s = settings(1, norm=norm, epsilon=RADII[norm])
    first = noise([5], s)[0]
    assert first.dtype == np.float32
    length = np.abs(first).max() if norm == "linf" else np.linalg.norm(first)
    assert 0 < length <= RADII[norm]
    together = noise([9, 5, 2], s)
    assert (together[1] == first).all(), "neither order nor batch matters"
    others = [noise([6], s), noise([5], s._replace(seed=1)), noise([5], s, 1)]
    assert all((other[0] != first).mean() > 0.99 for other in others)
    # what is added up must not be what decides: (seed 1, number 5) is not (seed 0, number 6)
    assert (noise([5], s._replace(seed=1))[0] != noise([6], s)[0]).any()


@pytest.mark.parametrize("norm", RADII)
def test_given_starts_are_used_in_the_first_round(norm):
    s = settings(1, norm=norm, epsilon=RADII[norm])
    start = np.full(SHAPE, 0.001, dtype=np.float32)
    with_starts = s._replace(starts={5: start})
    assert (noise([4, 5], with_starts)[1] == start).all()
    assert (noise([4, 5], with_starts)[0] == noise([4], s)[0]).all()
    assert (noise([5], with_starts, 1) == noise([5], s, 1)).all()


def test_a_cube_is_filled_evenly_and_pixels_are_independent():
    values = noise(list(range(2000)), settings(1, epsilon=1.0)).reshape(2000, -1)
    counts = np.histogram(values, bins=20, range=(-1, 1))[0] / values.size
    assert np.abs(counts - 0.05).max() < 0.002
    correlation = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert np.abs(correlation).max() < 5 / 2000**0.5
    between = np.corrcoef(values[:300]) - np.eye(300)
    assert np.abs(between).max() < 6 / values.shape[1] ** 0.5


def test_a_ball_has_even_directions_and_lengths():
    values = noise(list(range(2000)), settings(1, norm="l2", epsilon=1.0)).reshape(2000, -1)
    lengths = np.linalg.norm(values, axis=1)
    assert np.abs(np.sort(lengths) - (np.arange(2000) + 0.5) / 2000).max() < 0.04
    directions = values / lengths[:, None]
    assert np.abs(directions.mean(0)).max() < 5 / (2000 * 108) ** 0.5
    assert np.abs(directions.var(0) * 108 - 1).max() < 0.2


def test_many_images_are_drawn_in_parts_with_the_same_values(monkeypatch):
    s = settings(1)
    whole = noise(list(range(50)), s)
    monkeypatch.setattr("pipeline.evaluation.starts.VALUES_AT_ONCE", 300)
    assert (noise(list(range(50)), s) == whole).all()
    assert noise([], s).shape == (0, *SHAPE)


def test_a_start_lies_in_the_ball_and_the_image_in_the_box():
    images = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    s = settings(4, epsilon=0.3)
    start = random_starts(images, np.arange(4), np.zeros(4, dtype=np.int64), s)
    assert start.abs().max() <= 0.3 + 1e-6
    assert (images + start).min() >= 0
    assert (images + start).max() <= 1

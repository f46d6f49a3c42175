"""Random starts, drawn on the device by a counter: no state, no order, no batch.

Value i of an image is SplitMix64 (Steele, Lea, Flood 2014) at position i of a stream that seed,
round and image number choose. For l-infinity all arithmetic is on integers and exact floats: the
same bits on every device. For l2 it is float64, rounded to float32 at the end.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.evaluation.interface import Settings
from pipeline.zeroshot.pgd_step import project

INCREMENT = 0x9E3779B97F4A7C15 - (1 << 64)  # as signed 64 bits, which wrap
FIRST, SECOND = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)
VALUES_AT_ONCE = 1 << 18  # 64-bit numbers per temporary: a CPU's cache


def random_starts(
    images: Tensor, numbers: np.ndarray, rounds: np.ndarray, settings: Settings
) -> Tensor:
    """(B, 3, S, S) projected `start_noise` of each image, on the images' device."""
    shape = tuple(images.shape[1:])
    noise = start_noise(numbers, shape, settings, rounds, images.device)
    return project(images, noise, settings.epsilon, settings.norm)


def start_noise(
    numbers: np.ndarray,
    shape: tuple[int, ...],
    settings: Settings,
    rounds: np.ndarray,
    device: torch.device,
) -> Tensor:
    """float32 (B, *shape) starts inside the ball, each of which depends on image number, seed and
    round alone. In round 0 it is that of `settings.starts` where there is one.

    l-infinity: U(-epsilon, epsilon) per pixel; l2: an evenly drawn direction, a length from
    U(0, epsilon).
    """
    keys = stream_keys(settings.seed, rounds, numbers).to(device)
    count = int(np.prod(shape))
    draw = _in_cube if settings.norm == "linf" else _in_ball
    at_once = VALUES_AT_ONCE if device.type == "cpu" else 16 * VALUES_AT_ONCE
    parts = [draw(part, count) for part in keys.split(max(1, at_once // count))]
    epsilon = torch.full((), settings.epsilon, dtype=torch.float32, device=device)
    noise = (torch.cat(parts) if parts else keys.new_empty(0, count).float()) * epsilon
    noise = noise.view(-1, *shape)
    for row, start in given_starts(numbers, rounds, settings):
        noise[row] = torch.from_numpy(start).to(noise)
    return noise


def stream_keys(seed: int, rounds: np.ndarray, numbers: np.ndarray) -> Tensor:
    """int64 (B,): where the stream of each image begins."""
    key = torch.tensor(seed)
    for values in (rounds, numbers):
        key = mixed(key + INCREMENT) ^ torch.as_tensor(values, dtype=torch.int64)
    return mixed(key + INCREMENT)


def mixed(state: Tensor) -> Tensor:
    """SplitMix64's output at a state; int64 tensors, products wrap."""
    return _mix(state.clone())


def _mix(state: Tensor) -> Tensor:
    """The same in place: on a CPU most of the time goes into fresh memory otherwise."""
    state.bitwise_xor_(_shifted(state, 30)).mul_(FIRST)
    state.bitwise_xor_(_shifted(state, 27)).mul_(SECOND)
    return state.bitwise_xor_(_shifted(state, 31))


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Shift right, zeros moving in (torch's own shift of int64 moves the sign in)."""
    return (state >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _stream(keys: Tensor, first: int, count: int) -> Tensor:
    """(B, count) 64-bit values of each stream from position `first` on."""
    positions = torch.arange(first + 1, first + count + 1, device=keys.device)
    return _mix(keys[:, None] + positions.mul_(INCREMENT))


def _in_cube(keys: Tensor, count: int) -> Tensor:
    """(B, count) float32, U[-1, 1): multiples of 2^-23, all of them exact."""
    return _shifted(_stream(keys, 0, count), 40).float().mul_(2.0**-23).sub_(1)


def _in_ball(keys: Tensor, count: int) -> Tensor:
    """(B, count) float32: directions drawn evenly (Box and Muller 1958), lengths from U(0, 1)."""
    uniform = (_shifted(_stream(keys, 0, 2 * count + 1), 11).double() + 0.5) * 2.0**-53
    radius, angle, length = uniform.split([count, count, 1], dim=1)
    normal = (-2 * radius.log()).sqrt() * (2 * torch.pi * angle).cos()
    return (normal / normal.norm(dim=1, keepdim=True) * length).float()


def given_starts(
    numbers: np.ndarray, rounds: np.ndarray, settings: Settings
) -> Iterator[tuple[int, np.ndarray]]:
    """Row and start of the images that `settings.starts` has, in their first round."""
    if not settings.starts:
        return
    for row, number in enumerate(numbers.tolist()):
        if rounds[row] == 0 and number in settings.starts:
            yield row, np.asarray(settings.starts[number], dtype=np.float32)

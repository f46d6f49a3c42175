"""Mutations of good inputs, by hand for minutes or in a test for seconds."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import typer

SLOW = 2.0  # seconds of the processor that one input may take
Mutation = Callable[[random.Random, bytes], bytes]


class Figures(NamedTuple):
    """runs, and findings: the input, and what it led to."""

    runs: int
    findings: list[tuple[bytes, str]]


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _drop(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 64) :]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    part = data[start : start + rng.randrange(1, 64)]
    return data[:start] + part * rng.choice((2, 3, 10, 1000)) + data[start:]


def _number(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    size = rng.choice((1, 2, 4, 8))
    half = 2 ** (8 * size - 1)
    extreme = rng.choice((0, 1, 2 * half - 1, half, half - 1))
    number = extreme.to_bytes(size, rng.choice(("big", "little")))
    return data[:start] + number + data[start + size :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _cut, _drop, _repeat, _number)


def mutated(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` after one to four mutations, perhaps with the end of another input."""
    for _ in range(rng.randrange(1, 5)):
        if data:
            data = rng.choice(MUTATIONS)(rng, data)
    if rng.random() < 0.1:
        other = rng.choice(others)
        data = data[: len(data) // 2] + other[len(other) // 2 :]
    return data


def fuzz(
    inputs: Sequence[bytes], attempt: Callable[[bytes], str], seconds: float, seed: int
) -> Figures:
    """Try mutations of `inputs` for so many seconds of the processor.

    Args:
        attempt: what is wrong with how an input was treated; "" if nothing is. Whatever it
            raises is wrong.
    """
    rng, runs, findings = random.Random(seed), 0, []
    end = time.process_time() + seconds
    while time.process_time() < end:
        data = mutated(rng, rng.choice(inputs), inputs)
        began = time.process_time()
        try:
            wrong = attempt(data)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if not wrong and time.process_time() - began > SLOW:
            wrong = f"{time.process_time() - began:.1f} s"
        if wrong:
            findings.append((data, wrong))
        runs += 1
    return Figures(runs, findings)


def report(figures: Figures, seconds: float) -> None:
    """Print the figures, and each kind of finding once."""
    print(f"{figures.runs} inputs in {seconds:.0f} s, {len(figures.findings)} findings")
    for wrong, data in {wrong: data for data, wrong in figures.findings}.items():
        print(f"  {wrong}: {data[:200]!r}{' ...' if len(data) > 200 else ''}")


def command(
    seeds: Callable[[], Sequence[bytes]], attempt: Callable[[bytes], str]
) -> Callable[[float, int | None], None]:
    """The command line of a fuzz target, for `typer.run`."""

    def main(
        seconds: Annotated[float, typer.Option(help="of the processor")] = 300,
        seed: Annotated[int | None, typer.Option(help="of the mutations; none: a new one")] = None,
    ) -> None:
        """Treat mutated inputs and print what is wrong with how they are treated."""
        figures = fuzz(seeds(), attempt, seconds, random.randrange(2**31) if seed is None else seed)
        report(figures, seconds)
        raise SystemExit(1 if figures.findings else 0)

    return main

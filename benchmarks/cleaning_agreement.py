"""How often a reader agrees with what cleaning decided, of `benchmarks.cleaning score`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.results.statistics import wilson

Cell = tuple[str, bool]  # a source, and whether its sentences were dropped


def agreement(rows: Sequence[dict[str, Any]], sizes: Counter[Cell]) -> dict[str, Any]:
    """Right decisions of the read ones; precision and recall of dropping.

    Within a source the read decisions stand for all (`sizes`). Precision: of all dropped, the
    share that should be. Recall: of all that should be, the share that is dropped. Both with the
    95 % interval of 10,000 draws of every cell's share from its Jeffreys posterior.
    """
    read = Counter((row["source"], row["reason"] is not None) for row in rows)
    right = Counter((row["source"], row["reason"] is not None) for row in rows if row["right"])
    cells = {
        f"{source}, {'dropped' if dropped else 'kept'}": {
            "all": sizes[source, dropped],
            "read": read[source, dropped],
            "right": right[source, dropped],
            "share": wilson(right[source, dropped], read[source, dropped])._asdict(),
        }
        for source, dropped in sorted(read)
    }
    sides = {
        name: wilson(
            sum(right[cell] for cell in read if cell[1] == dropped),
            sum(read[cell] for cell in read if cell[1] == dropped),
        )._asdict()
        for name, dropped in (("dropped", True), ("kept", False))
    }
    return {"cells": cells, "read": sides} | _weighted(read, right, sizes)


def _weighted(
    read: Counter[Cell], right: Counter[Cell], sizes: Counter[Cell]
) -> dict[str, dict[str, float]]:
    generator = np.random.default_rng(0)
    point: dict[bool, Any] = {True: 0.0, False: 0.0}
    drawn: dict[bool, Any] = {True: 0.0, False: 0.0}
    for cell, count in read.items():
        # of dropped ones the right, of kept ones the wrong should be dropped
        hits = right[cell] if cell[1] else count - right[cell]
        point[cell[1]] += sizes[cell] * hits / count
        shares = generator.beta(hits + 0.5, count - hits + 0.5, size=10_000)
        drawn[cell[1]] = drawn[cell[1]] + sizes[cell] * shares
    dropped = sum(sizes[cell] for cell in read if cell[1])
    values = {
        "precision": (point[True] / dropped, drawn[True] / dropped),
        "recall": (
            point[True] / (point[True] + point[False]),
            drawn[True] / (drawn[True] + drawn[False]),
        ),
    }
    return {
        name: dict(
            zip(
                ("share", "low", "high"),
                map(float, (at, *np.quantile(of, (0.025, 0.975)))),
                strict=True,
            )
        )
        for name, (at, of) in values.items()
    }

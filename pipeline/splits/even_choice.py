"""Some images of a set, spread over its classes."""

import numpy as np


def evenly_spaced(total: int, count: int | None) -> np.ndarray:
    """`count` of 0..total-1 at even distances (sets are often sorted by class); None: all.

    Example: 4 of 10 are 0, 2, 5, 7.
    """
    if count is None or count >= total:
        return np.arange(total)
    return np.arange(count) * total // count

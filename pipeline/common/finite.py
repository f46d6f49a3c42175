"""Numbers that may be used: finite ones, and features of unit norm.

A NaN compares with nothing: a maximum, a threshold or a ranking goes on with it and says nothing,
so what is read from a file and what is computed is tested. In `common` for clip, zeroshot,
embeddings, filtering and results alike.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.common.errors import UserError

# of the norm of a feature: float32 normalises to 1e-6
NORM_TOLERANCE = 1e-3
AGAIN = "run `dvc repro` to make it again"


def check_unit_norm(
    features: np.ndarray, where: str, name_of: Callable[[int], str], advice: str = AGAIN
) -> None:
    """Refuse features that are not what a cosine needs.

    Args:
        features: float (N, D).
        where: the file that they are from, or the model that made them, for the message.
        name_of: row -> what the feature is of, for the message.
        advice: what to do.

    Raises:
        UserError: a row is not finite, zero, or its norm is off from 1 by more than NORM_TOLERANCE.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("nd,nd->n", features, features))
    bad = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))  # NaN too
    if not len(bad):
        return
    row, norm = int(bad[0]), norms[bad[0]]
    fault = f"has the norm {norm:.4g}, not 1" if norm else "is zero"
    if not np.isfinite(norm):
        fault = "is not finite"
    raise UserError(
        f"{where}: the feature of {name_of(row)} {fault} ({len(bad)} of {len(norms)} rows are not "
        f"of unit norm); {advice}"
    )


def not_finite(table: pa.Table, columns: Sequence[str]) -> Iterator[str]:
    """Of every column of floats that has a NaN or an infinite value, what is wrong with it; nulls
    are allowed."""
    for name in columns:
        values = table[name].to_numpy()  # NaN for a null
        bad = np.flatnonzero(~np.isfinite(values) & ~table[name].is_null().to_numpy())
        if len(bad):
            yield f"column '{name}' is {values[bad[0]]} in row {bad[0]}"

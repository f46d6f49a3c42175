"""Margins of verdicts, tested on the host, where they come for every iterate: no device waits."""

import numpy as np

from pipeline.common.errors import UserError


def check_finite_margins(margins: np.ndarray, numbers: np.ndarray, where: str) -> None:
    """Refuse a model that gives an image logits that are no numbers: it would count as of class 0.

    Args:
        margins: float (N,), on the host.
        numbers: int64 (N,), of the images.
        where: the model's folder, for the message.

    Raises:
        UserError: a margin is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(margins))
    if len(bad):
        raise UserError(
            f"{where}: the logits of image {numbers[bad[0]]} are not finite ({len(bad)} of "
            f"{len(margins)} images); the model is damaged or needs another config, or, where "
            "evaluate.precision is not float32, a higher one"
        )

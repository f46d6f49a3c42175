"""examples.safetensors: a few images as they are, and what an attack added to them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipeline.common.errors import UserError
from pipeline.common.finite import AGAIN

EXAMPLES = "examples.safetensors"
SLACK = 1e-6  # of a pixel: float32 rounding


def read_examples(folders: Mapping[str, Path], norm: str, epsilon: float) -> dict[str, np.ndarray]:
    """The arrays numbers (E,), clean (E, 3, S, S), and by model its perturbations of that shape,
    float32, clean in [0, 1].

    Args:
        folders: of one attack, by model.
        norm, epsilon: the ball that the attack kept to, epsilon in [0, 1] pixel units.

    Raises:
        UserError: a file is missing, damaged, of other images than another's, or no such attack's.
    """
    arrays: dict[str, np.ndarray] = {}
    first = next(iter(folders.values())) / EXAMPLES
    for model, folder in folders.items():
        path = folder / EXAMPLES
        numbers, clean, perturbation = _read_examples(path)
        _check_attacked(clean, perturbation, norm, epsilon, path)
        shared = arrays.setdefault("numbers", numbers), arrays.setdefault("clean", clean)
        if not all(np.array_equal(a, b) for a, b in zip(shared, (numbers, clean), strict=True)):
            raise UserError(f"{path}: not the images of the other models' examples, {first}")
        arrays[model] = perturbation
    return arrays


def _read_examples(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        tensors = load_file(path)
        numbers, clean, moved = (tensors[name] for name in ("numbers", "clean", "perturbation"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (SafetensorError, KeyError, OSError) as error:
        raise UserError(f"{path}: not a file of examples: {' '.join(str(error).split())}") from None
    if numbers.dtype.kind != "i" or clean.dtype.kind != "f" or moved.dtype.kind != "f":
        raise UserError(f"{path}: not integer numbers and pixels in floating point")
    if clean.ndim != 4 or clean.shape[:2] != (len(numbers), 3) or moved.shape != clean.shape:
        raise UserError(f"{path}: the arrays differ in their number or size of images")
    return numbers, clean, moved


def _check_attacked(
    clean: np.ndarray, perturbation: np.ndarray, norm: str, epsilon: float, path: Path
) -> None:
    """Raise UserError unless clean pixels are in [0, 1] and perturbations in the ball; NaN is in
    neither."""
    if not clean.size:
        return
    flat = perturbation.reshape(len(perturbation), -1).astype(np.float64)
    sizes = np.abs(flat).max(1) if norm == "linf" else np.linalg.norm(flat, axis=1)
    slack = SLACK if norm == "linf" else SLACK * flat.shape[1] ** 0.5
    if not (clean.min() >= 0 and clean.max() <= 1):
        raise UserError(f"{path}: clean pixels are not in [0, 1]; {AGAIN}")
    if not sizes.max() <= epsilon + slack:
        raise UserError(
            f"{path}: a perturbation has the size {sizes.max():.4g}, more than the attack's "
            f"{epsilon:.4g}; {AGAIN}"
        )

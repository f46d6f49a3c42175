"""examples.safetensors: a few images as they are, what an attack added to them, and where the
model looks in both."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipeline.common.errors import UserError
from pipeline.common.finite import AGAIN

EXAMPLES = "examples.safetensors"
SLACK = 1e-6  # of a pixel: float32 rounding


class AttackedExamples(NamedTuple):
    """E images under attack by one model. perturbation: float32 (E, 3, S, S); clean_attention,
    adversarial_attention: float16 (E, rows, columns) in [0, 1], the patches' agreement with the
    text of the image's class, (E, 0, 0) of a model whose tokens are no patches."""

    perturbation: np.ndarray
    clean_attention: np.ndarray
    adversarial_attention: np.ndarray


class Examples(NamedTuple):
    """numbers: int (E,) of the images; clean: float32 (E, 3, S, S) in [0, 1]; models: by name."""

    numbers: np.ndarray
    clean: np.ndarray
    models: dict[str, AttackedExamples]


def read_examples(folders: Mapping[str, Path], norm: str, epsilon: float) -> Examples:
    """The examples of one attack on all models.

    Args:
        folders: by model.
        norm, epsilon: the ball that the attack kept to, epsilon in [0, 1] pixel units.

    Raises:
        UserError: a file is missing, damaged, of other images than another's, or no such attack's.
    """
    paths = {model: folder / EXAMPLES for model, folder in folders.items()}
    arrays = {model: _read_arrays(path) for model, path in paths.items()}
    first, *_ = arrays
    numbers, clean = (arrays[first][name] for name in Examples._fields[:2])
    for model, path in paths.items():
        _check_attacked(arrays[model], norm, epsilon, path)
        shared = [(numbers, arrays[model]["numbers"]), (clean, arrays[model]["clean"])]
        if not all(np.array_equal(a, b) for a, b in shared):
            raise UserError(f"{path}: not the images of the other models' examples, {paths[first]}")
    fields = AttackedExamples._fields
    models = {m: AttackedExamples(*(of[name] for name in fields)) for m, of in arrays.items()}
    return Examples(numbers, clean, models)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        tensors = load_file(path)
        names = [*Examples._fields[:2], *AttackedExamples._fields]
        arrays = {name: tensors[name] for name in names}
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (SafetensorError, KeyError, OSError) as error:
        raise UserError(f"{path}: not a file of examples: {' '.join(str(error).split())}") from None
    kinds = [values.dtype.kind for values in arrays.values()]
    if kinds != ["i", "f", "f", "f", "f"]:
        raise UserError(f"{path}: not integer numbers and pixels in floating point")
    numbers, clean, perturbation, *maps = arrays.values()
    if clean.ndim != 4 or clean.shape[:2] != (len(numbers), 3) or perturbation.shape != clean.shape:
        raise UserError(f"{path}: the arrays differ in their number or size of images")
    shapes = {of.shape for of in maps}
    if len(shapes) > 1 or maps[0].ndim != 3 or len(maps[0]) != len(numbers):
        raise UserError(f"{path}: the attention maps are not one for each image, of one size")
    return arrays


def _check_attacked(
    arrays: Mapping[str, np.ndarray], norm: str, epsilon: float, path: Path
) -> None:
    """Raise UserError unless clean pixels and attention are in [0, 1] and perturbations in the
    ball; NaN is in neither."""
    numbers, clean, perturbation, *maps = arrays.values()
    if not clean.size:
        return
    flat = perturbation.reshape(len(numbers), -1).astype(np.float64)
    sizes = np.abs(flat).max(1) if norm == "linf" else np.linalg.norm(flat, axis=1)
    slack = SLACK if norm == "linf" else SLACK * flat.shape[1] ** 0.5
    for what, values in (("clean pixels", [clean]), ("attention maps", maps)):
        if not all(((of >= 0) & (of <= 1)).all() for of in values):
            raise UserError(f"{path}: {what} are not in [0, 1]; {AGAIN}")
    if not sizes.max() <= epsilon + slack:
        raise UserError(
            f"{path}: a perturbation has the size {sizes.max():.4g}, more than the attack's "
            f"{epsilon:.4g}; {AGAIN}"
        )

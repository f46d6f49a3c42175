"""training.csv of the fine-tuned model: a row for each step of the optimiser."""

import csv
import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.common.errors import UserError, first_line

CURVE = Path("reports/plots/validation.csv")
VALIDATION = "validation_"  # how columns begin that have a value at some steps only
MEASURES = {"validation_clean_accuracy": "clean", "validation_robust_accuracy": "robust"}


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Columns of the training log, float64, in the order of the file; nan where a step was not
    validated."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        parsed = [_numbers(header, row, line) for line, row in enumerate(rows, 2)]
        values = np.array(parsed)
        if parsed and np.isnan(values[-1]).any():
            raise ValueError("the last step is not validated")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` first") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a table of numbers: {first_line(error)}") from None
    if len(values) and values.shape[1] != len(set(header)):
        raise UserError(f"{path}: {len(set(header))} names for {values.shape[1]} columns")
    if not {"step", "learning_rate", "loss"} <= set(header) or not len(values):
        raise UserError(f"{path}: expected rows under step, learning_rate, loss, ...")
    return {name: values[:, column] for column, name in enumerate(header)}


def _numbers(header: Sequence[str], row: Sequence[str], line: int) -> list[float]:
    """The cells of a row; nan for those of a validation that are empty."""
    numbers = []
    for name, cell in zip_longest(header[: len(row)], row, fillvalue=""):
        absent = not cell and name.startswith(VALIDATION)
        number = math.nan if absent else float(cell)
        if not absent and not math.isfinite(number):
            raise ValueError(f"a number in line {line} is not finite")
        numbers.append(number)
    return numbers


def validated_steps(log: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the steps that were validated: `step`, and the shares in 0..1 of MEASURES by their
    words; {} without a validation."""
    if not MEASURES.keys() <= log.keys():
        return {}
    at = ~np.isnan(log[next(iter(MEASURES))])
    columns = {words: log[name][at] for name, words in MEASURES.items()}
    return {"step": log["step"][at], **columns}


def curve_rows(log: dict[str, np.ndarray]) -> Iterator[list[Any]]:
    """Header and rows of CURVE, which `dvc plots` draws; no rows without a validation."""
    yield ["step", *MEASURES.values()]
    for step, *shares in zip(*validated_steps(log).values(), strict=True):
        yield [int(step), *(round(float(share), 4) for share in shares)]

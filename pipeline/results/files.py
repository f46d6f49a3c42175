"""Where verdicts are stored, and the schema of the per-image results of one model under one attack:
one row per image, whose columns follow from each other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.common import rows
from pipeline.common.finite import not_finite

EVALUATION = Path("data/evaluation")
CHECKS = Path("data/checks")
METRICS = Path("reports/metrics.json")
# image set, text set, attack, epsilon in 1/255, model
Evaluation = tuple[str, str, str, float, str]


def evaluation_folder(
    dataset: str, texts: str, attack: str, epsilon_255: float, model: str
) -> Path:
    """The folder of one evaluation; `epsilon_255` as params.yaml writes it: 4 is not 4.0."""
    return EVALUATION / dataset / texts / attack / str(epsilon_255) / model


def checks_file(dataset: str, model: str) -> Path:
    """The soundness measurements of one model on one image set."""
    return CHECKS / dataset / f"{model}.json"


PREDICTIONS = pa.schema(
    [
        ("model", pa.string()),
        ("number", pa.int64()),
        ("label", pa.int32()),
        ("clean_prediction", pa.int32()),
        ("clean_margin", pa.float32()),
        ("clean_confidence", pa.float32()),
        ("adversarial_prediction", pa.int32()),
        ("adversarial_margin", pa.float32()),
        ("adversarial_confidence", pa.float32()),
        ("fooled_at", pa.int32()),
        ("robust_any", pa.bool_()),
        ("robust_last", pa.bool_()),
        ("zero_gradient", pa.float32()),
    ]
)


def prediction_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of predictions.parquet; see `pipeline.common.rows`."""
    yield from rows.complete(table, nullable=["robust_last", "zero_gradient"])
    yield from rows.unique(table, ["number"])
    for column in ("number", "label", "clean_prediction", "adversarial_prediction"):
        yield from rows.at_least(table, column, 0)
    yield from rows.at_least(table, "fooled_at", -1)


CLOSE = 1e-6  # float32 rounding of a probability


def verdict_faults(table: pa.Table, classes: int) -> Iterator[str]:
    """What is wrong with a table of PREDICTIONS, the gravest first.

    An image is robust if it is right at every iterate, the clean image included; `fooled_at` is -1
    where the attack misclassified none, and the adversarial prediction is the one that decided.

    Args:
        classes: C; no probability of a predicted class is below 1 / C.
    """
    yield from not_finite(table, [field.name for field in table.schema if field.type == "float"])
    number, label, fooled_at = (table[key].to_numpy() for key in ("number", "label", "fooled_at"))
    open_still, robust = fooled_at < 0, table["robust_any"].to_numpy()
    right = {}
    for state in ("clean", "adversarial"):
        right[state] = table[f"{state}_prediction"].to_numpy() == label
        margin = table[f"{state}_margin"].to_numpy()
        confidence = table[f"{state}_confidence"].to_numpy()
        yield from _first(
            number,
            np.where(right[state], margin < 0, margin > 0),
            f"the {state} margin and prediction contradict each other",
        )
        within = (confidence >= 1 / classes - CLOSE) & (confidence <= 1 + CLOSE)
        yield from _first(number, ~within, f"the {state} confidence is not in [1 / {classes}, 1]")
    yield from _first(number, robust & ~right["clean"], "robust, but wrong on the clean image")
    yield from _first(
        number,
        robust != (right["clean"] & open_still),
        "robust_any and fooled_at contradict each other",
    )
    yield from _first(
        number,
        right["adversarial"] != open_still,
        "fooled_at and the adversarial prediction contradict each other",
    )
    wrong_last = table["robust_last"].fill_null(True).to_numpy() == 0
    yield from _first(number, robust & wrong_last, "robust_any, but wrong at the last iterate")
    zero = table["zero_gradient"].fill_null(0).to_numpy()
    yield from _first(number, (zero < 0) | (zero > 1), "zero_gradient is not in [0, 1]")
    yield from _first(number, fooled_at < -1, "fooled_at is below -1")


def _first(number: np.ndarray, bad: np.ndarray, what: str) -> Iterator[str]:
    """Of bool (N,): the first image that is bad, and how many there are."""
    if bad.any():
        yield f"image {number[bad][0]}: {what} ({int(bad.sum())} of {len(bad)} images)"

"""Where verdicts are stored, and the schema of the per-image results of one model under one attack:
one row per image."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.common import rows

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

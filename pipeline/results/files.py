"""Where verdicts are stored, and the schema of the per-image results of one attack: one row per
image and model."""

from pathlib import Path

import pyarrow as pa

EVALUATION = Path("data/evaluation")
CHECKS = Path("data/checks")
METRICS = Path("reports/metrics.json")

PREDICTIONS = pa.schema(
    [
        ("model", pa.string()),
        ("number", pa.int64()),
        ("label", pa.int32()),
        ("clean_prediction", pa.int32()),
        ("clean_margin", pa.float32()),
        ("adversarial_prediction", pa.int32()),
        ("adversarial_margin", pa.float32()),
        ("fooled_at", pa.int32()),
        ("robust_any", pa.bool_()),
        ("robust_last", pa.bool_()),
        ("zero_gradient", pa.float32()),
    ]
)

"""Numbers that may be used, and those that may not."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.common.errors import UserError
from pipeline.common.finite import NORM_TOLERANCE, check_unit_norm, not_finite
from pipeline.common.tables import read_json, write_json


def unit(rows: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(rows, 24)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v * np.nan, "e.parquet: the feature of text 2 is not finite (1 of 5 rows"),
        (lambda v: v + np.inf, "is not finite"),
        (lambda v: v * 3e38, "is not finite"),
        (lambda v: v * 0, "the feature of text 2 is zero"),
        (lambda v: v * 10, "has the norm 10, not 1"),
        (lambda v: v * (1 - 2 * NORM_TOLERANCE), "has the norm 0.998, not 1"),
    ],
)
def test_a_feature_without_unit_norm_is_named(change, message) -> None:
    features = unit(5)
    features[2] = change(features[2])
    with pytest.raises(UserError) as raised:
        check_unit_norm(features, "e.parquet", lambda row: f"text {row}")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rounding_and_no_feature_at_all_pass() -> None:
    for features in (unit(1000), unit(10).astype(np.float16), unit(0), unit(5) * (1 + 1e-5)):
        check_unit_norm(features, "x", str)


def test_a_column_may_lack_numbers_but_have_no_other() -> None:
    table = pa.table({"a": [1.0, None, 2.0], "b": [0.0, float("nan"), 1.0], "c": [None, 1.0, None]})
    assert list(not_finite(table, ["a", "c"])) == []
    assert list(not_finite(table, ["a", "b"])) == ["column 'b' is nan in row 1"]
    infinite = pa.table({"a": pa.array([1.0, 2.0, -np.inf], pa.float32())})
    assert list(not_finite(infinite, ["a"])) == ["column 'a' is -inf in row 2"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_such_number(tmp_path: Path, number: float) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(UserError, match="a.json: .*nothing was written"):
        write_json(path, {"x": [1.0, number]})
    assert not path.exists()
    path.write_text(json.dumps({"x": [1.0, number]}))
    with pytest.raises(
        UserError, match=r"a\.json: not valid JSON: (NaN|-?Infinity) is not a number"
    ):
        read_json(path)

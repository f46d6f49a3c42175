"""What stands side by side belongs together, and is what params.yaml asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.common.errors import UserError
from pipeline.common.params import read_section
from pipeline.results.agreement import Agreed
from pipeline.results.evaluated import EvaluatedSet, check_evaluated, read_evaluated
from pipeline.results.files import PREDICTIONS, evaluation_folder, verdict_faults
from tests.support import damage
from tests.support.report_inputs import ATTACKS, BASE_AND_TUNED, change_verdicts, columns

FIRST = evaluation_folder("shapes", "template", "pgd", 4, "base")
OTHER_ATTACK = evaluation_folder("shapes", "template", "apgd_ce", 4, "base")
# what two attacks on one image set share, and another value of it
SHARED: dict[str, Any] = {
    "norm": "l2", "space": "native", "robust": "last", "seed": 4, "precision": "bf16",
    "guard_band": 0.5, "dropped": 1, "pixels": 32, "attacker__name": "x",
    "texts__templates": [],
}  # fmt: skip


def read(texts: str = "template") -> EvaluatedSet:
    return read_evaluated("shapes", texts, list(ATTACKS), 4, list(BASE_AND_TUNED))


@contextmanager
def changed(*folders: Path, **changes: Any) -> Iterator[None]:
    """Other keys in metrics.json, until the end of the block."""
    kept = {folder / "metrics.json": (folder / "metrics.json").read_bytes() for folder in folders}
    for path in kept:
        damage.json_file(path, **changes)
    yield
    for path, content in kept.items():
        path.write_bytes(content)


def refused(*parts: str) -> None:
    with pytest.raises(UserError) as raised:
        check_evaluated([read(), read("unseen")], read_section("evaluate", Agreed))
    assert "\n" not in str(raised.value)
    assert [part for part in parts if part not in str(raised.value)] == []


@pytest.mark.usefixtures("tree")
def test_attacks_of_one_set_agree_key_by_key() -> None:
    check_evaluated([read(), read("unseen")], read_section("evaluate", Agreed))
    for key, value in SHARED.items():
        models = [OTHER_ATTACK.with_name(model) for model in BASE_AND_TUNED]
        with changed(*models, **{key: value}):
            refused(f"{OTHER_ATTACK}/metrics.json: {key.split('__')[0]} is", f"{FIRST}/metrics")


@pytest.mark.usefixtures("tree")
def test_text_sets_agree_in_images_and_labels_but_not_in_predictions() -> None:
    unseen = evaluation_folder("shapes", "unseen", "pgd", 4, "base")
    labels = pq.read_table(unseen / "predictions.parquet")["label"].to_numpy()
    everywhere = [
        folder.parent for folder in Path("data/evaluation").glob("shapes/unseen/*/4/*/m*")
    ]
    assert len(everywhere) == 4
    for folder in everywhere:
        change_verdicts(folder, clean_prediction=(labels + 1) % 6)
    check_evaluated([read(), read("unseen")], read_section("evaluate", Agreed))
    for folder in everywhere:
        change_verdicts(folder, label=labels[::-1])
    refused(f"{unseen}/predictions.parquet: not the labels of {FIRST}/predictions.parquet")


@pytest.mark.usefixtures("tree")
def test_margins_of_another_device_are_the_same_and_those_of_another_model_are_not() -> None:
    for size, passes in ((1e-4, True), (1.0, False)):
        path = OTHER_ATTACK / "predictions.parquet"
        damage.column(
            path, "clean_margin", lambda v, size=size: v + size * np.sign(v.astype(float))
        )
        if passes:
            check_evaluated([read()], read_section("evaluate", Agreed))
        else:
            refused(f"{path}: not the clean margins of {FIRST}/predictions.parquet")


@pytest.mark.usefixtures("tree")
def test_of_two_nearly_equal_classes_another_device_may_predict_the_other() -> None:
    path = OTHER_ATTACK / "predictions.parquet"
    verdicts = pq.read_table(path)
    wrong = verdicts["clean_prediction"].to_numpy() != verdicts["label"].to_numpy()
    confidence = verdicts["clean_confidence"].to_numpy()
    tied, sure = (np.flatnonzero(wrong & mask)[0] for mask in (confidence < 0.5, confidence > 0.6))
    for row, passes in ((tied, True), (sure, False)):
        damage.column(path, "clean_prediction", lambda v, row=row: other_class(v, verdicts, row))
        if passes:
            check_evaluated([read()], read_section("evaluate", Agreed))
        else:
            refused(f"{path}: not the clean predictions of {FIRST}/predictions.parquet")


def other_class(predictions: np.ndarray, verdicts: pa.Table, row: int) -> np.ndarray:
    """The predictions with another wrong class of 6 in a row."""
    label = verdicts["label"][row].as_py()
    taken = (label, predictions[row])
    changed = predictions.copy()
    changed[row] = next(number for number in range(6) if number not in taken)
    return changed


def test_params_are_those_of_the_section(tree: Path) -> None:
    text = Path("params.yaml").read_text()
    for key, old, new in (
        ("seed", "  seed: 3", "  seed: 4"), ("norm", "norm: linf\n  s", "norm: l2\n  s"),
        ("attacker", "attacker: same", "attacker: unseen"),
        ("space", "space: model", "space: native"),
        ("options.apgd_ce", "apgd_ce: {steps: 20}", "apgd_ce: {steps: 2}"),
    ):  # fmt: skip
        assert text.count(old) == 1, key
        (tree / "params.yaml").write_text(text.replace(old, new))
        refused("metrics.json: ", f"params.yaml: evaluate.{key}; run `dvc repro`")


def table(**changes: Any) -> pa.Table:
    values = columns("base", 40, 4, 0.6, np.random.default_rng(0)) | changes
    return pa.Table.from_pydict(values, schema=PREDICTIONS)


def test_a_table_follows_from_itself() -> None:
    sound = columns("base", 40, 4, 0.6, np.random.default_rng(0))
    assert list(verdict_faults(table(), 4)) == []
    robust = np.flatnonzero(sound["robust_any"])[0]
    lost = sound["robust_any"].copy()
    lost[robust] = False
    wrong = np.flatnonzero(sound["clean_prediction"] != sound["label"])[0]
    claimed = sound["robust_any"].copy()
    claimed[wrong] = True
    for changes, message in (
        ({"robust_any": lost}, f"image {3 * robust}: robust_any and fooled_at contradict"),
        ({"robust_any": claimed}, f"image {3 * wrong}: robust, but wrong on the clean image"),
        ({"clean_margin": -sound["clean_margin"]}, "image 0: the clean margin and prediction"),
        ({"adversarial_confidence": np.full(40, 0.2)}, "confidence is not in [1 / 4, 1] (40 of"),
        ({"fooled_at": np.full(40, -2)}, "contradict"),
        ({"zero_gradient": [None] * 39 + [1.5]}, "image 117: zero_gradient is not in [0, 1]"),
        ({"clean_margin": np.full(40, np.nan)}, "column 'clean_margin' is nan in row 0"),
    ):
        assert message in next(verdict_faults(table(**changes), 4))
    assert list(verdict_faults(table(zero_gradient=[None] * 40, robust_last=[None] * 40), 4)) == []

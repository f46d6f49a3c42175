"""Every check of the evaluation passes on sound measurements and fails on unsound ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import report, report_checks
from pipeline.report_checks import Counts, falling_curve, large_epsilon, more_steps
from pipeline.report_evaluated import Evaluated, read_evaluated
from stages import report as stage
from tests.report_tree import PARAMS, make_tree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def digits(tree: Path) -> Evaluated:
    return read_evaluated("digits", "template", ["pgd", "apgd_ce"])


def counts(**changes: Any) -> Counts:
    values = {
        "images": 200,
        "curve": [[0, 190], [1, 150], [4, 60]],
        "large": [64, 0],
        "steps": [[5, 62], [10, 60], [20, 60]],
    }
    return Counts.model_validate(values | changes)


def overwrite(entry: Evaluated, attack: int, model: str, column: str, values: Any) -> None:
    table = entry.attacks[attack].predictions[model]
    place, field = table.schema.get_field_index(column), table.schema.field(column)
    found = np.broadcast_to(values, len(table)).astype(field.type.to_pandas_dtype())
    entry.attacks[attack].predictions[model] = table.set_column(place, field, [found])


def test_an_undefended_model_that_stands_is_noticed(digits: Evaluated) -> None:
    assert report_checks.undefended(digits).passed
    overwrite(digits, 0, "base", "robust_any", np.arange(120) < 7)
    found = report_checks.undefended(digits)
    assert found.passed is False, "7 of 120 are more than 5 %"
    assert "5.8%" in found.found
    overwrite(digits, 0, "base", "robust_any", np.arange(120) < 6)
    assert report_checks.undefended(digits).passed


def test_a_gap_between_pgd_and_apgd_is_noticed(digits: Evaluated, tree: Path) -> None:
    for gap, passed in ((3, True), (4, False)):
        overwrite(digits, 0, "finetuned", "robust_any", np.arange(120) < 40 + gap)
        overwrite(digits, 1, "finetuned", "robust_any", np.arange(120) < 40)
        assert report_checks.gap(digits, "finetuned").passed is passed
    overwrite(digits, 0, "finetuned", "robust_any", np.arange(120) < 20)
    assert report_checks.gap(digits, "finetuned").passed, "APGD may be the weaker one"
    alone = read_evaluated("digits", "template", ["pgd"])
    assert report_checks.gap(alone, "finetuned").passed is None


def test_dead_gradients_are_noticed(digits: Evaluated) -> None:
    assert report_checks.zero_gradients(digits, "base").passed
    overwrite(digits, 0, "base", "zero_gradient", np.where(np.arange(120) < 3, 0.9, 0.0))
    found = report_checks.zero_gradients(digits, "base")
    assert found.passed is False, "3 of 240 starts, 2 are allowed"
    assert "3 of 240" in found.found


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (falling_curve, {"curve": [[0, 190], [1, 150], [4, 153]]}),
        (large_epsilon, {"large": [64, 3]}),
        (more_steps, {"steps": [[5, 60], [10, 60], [20, 63]]}),
    ],
)
def test_a_curve_that_cannot_be_is_noticed(check: Any, bad: dict[str, Any]) -> None:
    assert check("x", counts()).passed is True
    found = check("x, base", counts(**bad))
    assert found.passed is False
    assert found.where == "x, base"
    assert len(found.meaning) > 40


def test_one_image_in_a_hundred_is_no_finding() -> None:
    assert falling_curve("x", counts(curve=[[0, 190], [1, 150], [4, 152]])).passed
    assert large_epsilon("x", counts(large=[64, 2])).passed


def break_curve(tree: Path) -> None:
    path = tree / "data/checks/shapes.json"
    found = json.loads(path.read_text())
    found["finetuned"]["curve"][-1][1] = 40
    path.write_text(json.dumps(found))


def test_a_failed_check_is_in_the_page_and_the_metrics(tree: Path) -> None:
    break_curve(tree)
    stage.main()
    page = report.PAGE.read_text()
    assert "1 of 16 checks of the evaluation failed" in page
    assert '<a href="#trust">' in page
    assert json.loads(report.METRICS.read_text())["checks"] == {"passed": 15, "failed": 1}


def test_strict_writes_the_page_and_then_fails_naming_the_check(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "params.yaml").write_text(PARAMS.replace("strict: false", "strict: true"))
    stage.main()  # nothing failed: no complaint
    break_curve(tree)
    with pytest.raises(SystemExit) as left:
        stage.main()
    assert left.value.code == 1
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert "evaluate.strict: 1 check" in message
    assert "accuracy falls with epsilon (shapes, fine-tuned" in message
    assert "1 of 16 checks of the evaluation failed" in report.PAGE.read_text()

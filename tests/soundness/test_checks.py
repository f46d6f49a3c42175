"""Every check of the evaluation passes on sound measurements and fails on unsound ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.report import page as report
from pipeline.results.accuracy import accuracies
from pipeline.results.evaluated import EvaluatedSet, read_evaluated
from pipeline.results.files import METRICS
from pipeline.soundness import checks as report_checks
from pipeline.soundness.measurements import (
    Check,
    CheckMeasurements,
    PrecisionCounts,
    check_epsilon_curve,
    check_large_epsilon,
    check_more_steps,
    check_precision,
)
from stages import report as stage
from tests.support.report_inputs import EPSILON, PARAMS, write_about

MODELS = ["base", "finetuned"]
UNDEFENDED = {"base": "false", "finetuned": "true"}


@pytest.fixture
def digits(tree: Path) -> EvaluatedSet:
    return read_evaluated("digits", "template", ["pgd", "apgd_ce"], EPSILON, MODELS)


def counts(**changes: Any) -> CheckMeasurements:
    values = {
        "dataset": "x",
        "model": "base",
        "epsilon_255": 4,
        "images": 200,
        "precision": None,
        "curve": [[0, 190], [1, 150], [4, 60]],
        "large": [64, 0],
        "steps": [[5, 62], [10, 60], [20, 60]],
    }
    return CheckMeasurements.model_validate(values | changes)


def overwrite(evaluated: EvaluatedSet, attack: int, model: str, column: str, values: Any) -> None:
    table = evaluated.attacks[attack].predictions[model]
    index, field = table.schema.get_field_index(column), table.schema.field(column)
    column_values = np.broadcast_to(values, len(table)).astype(field.type.to_pandas_dtype())
    evaluated.attacks[attack].predictions[model] = table.set_column(index, field, [column_values])


def undefended(evaluated: EvaluatedSet) -> Check:
    return report_checks.check_undefended(evaluated, "base", accuracies(evaluated)["base"])


def gap(evaluated: EvaluatedSet) -> Check:
    return report_checks.check_attack_gap("x", accuracies(evaluated)["finetuned"])


def test_an_undefended_model_that_stands_is_noticed(digits: EvaluatedSet) -> None:
    assert undefended(digits).passed
    overwrite(digits, 0, "base", "robust_any", np.arange(120) < 7)
    verdict = undefended(digits)
    assert verdict.passed is False, "7 of 120 are more than 5 %"
    assert "5.8%" in verdict.measured
    overwrite(digits, 0, "base", "robust_any", np.arange(120) < 6)
    assert undefended(digits).passed
    overwrite(digits, 0, "base", "clean_prediction", 0)  # right on the 12 images of class 0
    assert undefended(digits).passed is None, "it had nothing to lose"


def test_only_models_that_nothing_defends_have_to_fall(digits: EvaluatedSet) -> None:
    for model in MODELS:
        overwrite(digits, 0, model, "robust_any", np.arange(120) < 60)
    falls = [c for c in report_checks.run_checks([digits], [], UNDEFENDED) if "falls" in c.name]
    assert [(c.where, c.passed) for c in falls] == [("digits, template, ε = 4/255, base", False)]
    tuned = {"base": "unknown", "finetuned": "false"}
    falls = [c for c in report_checks.run_checks([digits], [], tuned) if "falls" in c.name]
    assert [c.where for c in falls] == ["digits, template, ε = 4/255, fine-tuned"]


def test_an_evaluation_without_an_undefended_model_has_no_control(digits: EvaluatedSet) -> None:
    control = report_checks.run_checks([digits], [], UNDEFENDED)[0]
    assert (control.name, control.passed) == ("there is a control", True)
    assert control.measured.endswith(": base")
    checks = report_checks.run_checks([digits], [], {"base": "unknown", "finetuned": "true"})
    assert checks[0].passed is None
    assert "a weak attack would not show" in checks[0].measured
    assert not [check for check in checks if "undefended model falls" in check.name]


def test_the_page_says_that_there_was_no_control(tree: Path) -> None:
    write_about(tree, "base", defended="unknown")
    stage.main()
    page = report.PAGE.read_text()
    assert "1 could not be judged" in page
    assert "no undefended model under the same attack: a weak attack would not show" in page
    assert json.loads(METRICS.read_text())["checks"] == {"passed": 27 - 1 - 4, "failed": 0}


def test_a_gap_between_pgd_and_apgd_is_noticed(digits: EvaluatedSet, tree: Path) -> None:
    for more, passed in ((3, True), (4, False)):
        overwrite(digits, 0, "finetuned", "robust_any", np.arange(120) < 40 + more)
        overwrite(digits, 1, "finetuned", "robust_any", np.arange(120) < 40)
        assert gap(digits).passed is passed
    overwrite(digits, 0, "finetuned", "robust_any", np.arange(120) < 36)
    verdict = gap(digits)
    assert verdict.passed is False, "an APGD that leaves more was held back"
    assert "-3.3 points" in verdict.measured
    alone = read_evaluated("digits", "template", ["pgd"], EPSILON, MODELS)
    assert gap(alone).passed is None


def test_dead_gradients_are_noticed(digits: EvaluatedSet) -> None:
    assert report_checks.check_zero_gradients(digits, "base").passed
    overwrite(digits, 0, "base", "zero_gradient", np.where(np.arange(120) < 3, 0.9, 0.0))
    verdict = report_checks.check_zero_gradients(digits, "base")
    assert verdict.passed is False, "3 of 240 starts, 2 are allowed"
    assert "3 of 240" in verdict.measured


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (check_epsilon_curve, {"curve": [[0, 190], [1, 150], [4, 153]]}),
        (check_epsilon_curve, {"curve": [[0, 190], [1, 190], [4, 190]]}),
        (check_epsilon_curve, {"curve": [[0, 190], [1, 50], [2, 51], [4, 52], [8, 53]]}),
        (check_large_epsilon, {"large": [64, 3]}),
        (check_more_steps, {"steps": [[5, 60], [10, 60], [20, 63]]}),
    ],
)
def test_a_curve_that_cannot_be_is_noticed(check: Any, bad: dict[str, Any]) -> None:
    assert check("x", counts()).passed is True
    result = check("x, base", counts(**bad))
    assert result.passed is False
    assert result.where == "x, base"
    assert len(result.meaning) > 40


def test_one_image_in_a_hundred_is_no_finding() -> None:
    assert check_epsilon_curve("x", counts(curve=[[0, 190], [1, 150], [4, 152]])).passed
    assert check_large_epsilon("x", counts(large=[64, 2])).passed


def test_a_lower_precision_that_finds_less_is_noticed() -> None:
    def bf16(right: int, changed: int) -> PrecisionCounts:
        return PrecisionCounts(name="bf16", right=right, right_in_float32=60, changed=changed)

    for right, changed, passed in ((60, 0, True), (62, 2, True), (63, 3, False), (50, 10, True)):
        check = check_precision("x", bf16(right, changed), 200)
        assert check.passed is passed
        assert f"{right} of 200 right, 60 in float32; {changed} verdicts differ" in check.measured


def test_what_a_precision_changed_is_in_page_and_metrics(tree: Path) -> None:
    path = tree / "data/checks/shapes/finetuned.json"
    measurements = json.loads(path.read_text())
    measurements["precision"] = {
        "name": "bf16", "right": 25, "right_in_float32": 20, "changed": 5,
    }  # fmt: skip
    path.write_text(json.dumps(measurements))
    stage.main()
    assert "bf16 attacks as well as float32" in report.PAGE.read_text()
    metrics = json.loads(METRICS.read_text())
    assert metrics["precision"]["shapes"]["finetuned"]["changed"] == 5
    assert metrics["checks"]["failed"] == 1


def break_curve(tree: Path) -> None:
    path = tree / "data/checks/shapes/finetuned.json"
    measurements = json.loads(path.read_text())
    measurements["curve"][-1][1] = 40
    path.write_text(json.dumps(measurements))


def test_a_failed_check_is_in_the_page_and_the_metrics(tree: Path) -> None:
    break_curve(tree)
    stage.main()
    page = report.PAGE.read_text()
    assert "1 of 27 checks of the evaluation failed" in page
    assert '<a href="#trust">' in page
    assert json.loads(METRICS.read_text())["checks"] == {"passed": 26, "failed": 1}


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
    page_after_failure = report.PAGE.read_text()
    assert "\n" not in message
    assert "evaluate.strict: 1 check(s) of the evaluation did not pass" in message
    assert "accuracy falls with epsilon (shapes, fine-tuned" in message
    (tree / "params.yaml").write_text(
        PARAMS.replace("strict: false", "strict: true").replace("[pgd, apgd_ce]", "[pgd]")
    )
    with pytest.raises(SystemExit):
        stage.main()
    assert "could not be judged" in capsys.readouterr().err, "the gap needs APGD"
    assert "1 of 27 checks of the evaluation failed" in page_after_failure

"""The section beyond accuracy, and its part of reports/metrics.json."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.report import page as report
from pipeline.report.beyond import beyond_metrics, changed_models
from pipeline.report.inputs import read_inputs
from pipeline.report.reliability import Reliability, reliability_chart
from pipeline.results.calibration import expected_calibration_error, reliability_table
from pipeline.results.files import evaluation_folder
from tests.support import report_inputs
from tests.support.report_inputs import CLASSES, PARAMS, make_tree, write_about, write_set

HEADING = "<h2>Beyond accuracy</h2>"
SIX = {"base": 0.02, "fare2": 0.3, "finetuned": 0.6, "tecoa4": 0.75, "own": 0.4, "copy": 0.02}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def section() -> str:
    return report.render(read_inputs()).split(HEADING)[1].split("<h2")[0]


def cells(part: str, title: str) -> list[str]:
    """The cells of the first row with this heading, without markup."""
    row = part.split(f'<tr><th scope="row">{title}</th>')[1].split("</tr>")[0]
    texts = re.findall(r"<td>(.*?)</td>", row)
    return [html.unescape(re.sub("<[^>]*>", "", text)).replace("\u00a0", " ") for text in texts]


def test_metrics_have_it_under_one_key_and_the_others_stay(tree: Path) -> None:
    metrics = report.metrics(read_inputs())
    assert list(metrics) == ["datasets", "mean", "checks", "beyond"]
    assert set(metrics["datasets"]["shapes"]["base"]) == {"clean", "robust", "pgd", "apgd_ce"}
    for name in CLASSES:
        for model in ("base", "finetuned"):
            folder = evaluation_folder(name, "template", "pgd", 4, model)
            rows = pq.read_table(folder / "predictions.parquet").to_pandas()
            for state in ("clean", "adversarial"):
                right = rows[f"{state}_prediction"] == rows["label"]
                error = expected_calibration_error(
                    rows[f"{state}_confidence"].to_numpy(), right.to_numpy()
                )
                measured = metrics["beyond"][name][model]
                assert measured["calibration"][state] == round(error, 4)
                margin = rows[f"{state}_margin"].astype(float).mean()
                assert measured["margin"][state] == round(margin, 4)
            assert set(measured) == {"calibration", "margin"}


def test_the_tables_tell_means_then_each_set(tree: Path) -> None:
    part, metrics = section(), report.metrics(read_inputs())
    folded = part.split("<summary>each data set</summary>")[1]
    shapes = metrics["beyond"]["shapes"]["finetuned"]
    row = cells(folded, "fine-tuned")
    assert row[0].startswith(f"{100 * shapes['calibration']['clean']:.1f} % calibrated: < ")
    assert row[3] == f"{shapes['margin']['adversarial']:+.2f}".replace("-", "\u2212")
    headline = metrics["datasets"]["shapes"]["finetuned"]["robust"]
    worst, told = re.fullmatch(r"([\d.]+) % headline ([\d.]+) %", row[5]).groups()
    assert told == f"{100 * headline:.1f}"
    assert float(worst) < float(told)
    mean = cells(part, "fine-tuned")
    errors = [of_set["finetuned"]["calibration"]["clean"] for of_set in metrics["beyond"].values()]
    assert float(mean[0].removesuffix(" %")) == pytest.approx(50 * sum(errors), abs=0.06)
    assert "calibrated" not in mean[0], "it has no mean"
    assert "the prediction of a fooled image counts, with its confidence" in part
    assert "with the texts of “template” and “unseen”; headline: with “template” alone" in part


def test_one_set_one_text_set_one_model_leave_nothing_to_compare(tree: Path) -> None:
    params = PARAMS.replace("[shapes, digits]", "[digits]").replace("[base, finetuned]", "[base]")
    params = params.replace("[template, unseen]", "[template]").replace("[shapes], i", "[], i")
    Path("params.yaml").write_text(params, encoding="utf-8")
    part = section()
    assert len(cells(part, "base")) == 4
    for absent in ("every text set", "Every text set", "<details>", "mean over", "gained and lost"):
        assert absent not in part
    assert part.count("<img") == 1


def test_classes_are_told_for_three_models_and_marked_where_they_are_few(tree: Path) -> None:
    for seed, (name, count) in enumerate({"shapes": 300, "digits": 120}.items()):
        write_set(tree, name, count, SIX, seed)
    for model in set(SIX) - {"base", "finetuned"}:
        write_about(tree, model, defended="true")
    params = PARAMS.replace("[base, finetuned]", json.dumps(list(SIX)))
    Path("params.yaml").write_text(params.replace("[shapes], i", "[], i"), encoding="utf-8")
    inputs = read_inputs()
    part = report.render(inputs).split(HEADING)[1].split("<h2")[0]
    titles = re.findall(r"<summary><b>([^<]*)</b> against base</summary>", part)
    assert titles == ["fine-tuned", "tecoa4", "own"]
    assert "shown for 3 of the 5 other models" in part
    tuned = part.split("<b>fine-tuned</b> against base")[1].split("</details>")[0]
    verdicts = {}
    for name in CLASSES:
        right = {model: robust(name, model) for model in ("base", "finetuned")}
        rows = re.findall(
            r'<tr><th scope="row">([^<]*)</th><td>.*?</td><td>(\d+) → (\d+) .*?of (\d+)<.*?'
            r"<td>(.*?)</td></tr>",
            tuned.split(f"<b>{name}</b>")[1].split("</tbody>")[0],
        )
        assert 1 <= len(rows) <= 6
        for title, first, second, images, verdict in rows:
            label = CLASSES[name].index(html.unescape(title))
            assert int(first) == right["base"][label]
            assert int(second) == right["finetuned"][label]
            assert int(images) == {"shapes": 50, "digits": 12}[name]
            verdicts.setdefault(name, set()).add("few" if "too few" in verdict else verdict)
    assert verdicts["shapes"] == {"yes"}
    assert "few" in verdicts["digits"]


def robust(name: str, model: str) -> np.ndarray:
    """int (C,): by class, the images that hold under both attacks, from the files."""
    tables = [
        pq.read_table(evaluation_folder(name, "template", attack, 4, model) / "predictions.parquet")
        for attack in report_inputs.ATTACKS
    ]
    held = np.logical_and(*(table["robust_any"].to_numpy() for table in tables))
    return np.bincount(tables[0]["label"].to_numpy()[held], minlength=len(CLASSES[name]))


def test_the_tuned_model_comes_first_unless_it_is_the_reference() -> None:
    mean = {name: {"robust": share} for name, share in SIX.items()}
    assert changed_models(mean, "base") == ["finetuned", "tecoa4", "own"]
    assert changed_models(mean, "finetuned") == ["tecoa4", "own", "fare2"]
    assert changed_models({"base": {"robust": 0.1}}, "base") == []


def test_classes_with_the_same_texts_are_named_by_their_set(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "have the same texts" not in report.render(read_inputs())
    names = CLASSES["digits"]
    monkeypatch.setitem(CLASSES, "digits", [*names[:4], names[3].upper(), *names[5:]])
    report_inputs.write_classes(tree / "data/evaluated_classes/digits.parquet", "digits")
    page = html.unescape(report.render(read_inputs()))
    remark = "classes 'digits-3' and 'digits-4' of 'digits' have the same texts in text set '{}'"
    headline, further = page.split("<h2>Further results</h2>")
    assert remark.format("template") in headline.split("<b>digits</b>")[1]
    assert remark.format("unseen") in further
    assert "of 'shapes' have the same texts" not in page


def test_the_figure_of_reliability_is_the_same_bytes_and_moves_with_the_data() -> None:
    confidence = np.linspace(0.2, 1, 50).astype(np.float32)

    def chart(right: np.ndarray) -> str:
        bins = reliability_table(confidence, right)
        return reliability_chart([Reliability("a $ b", 1, {"clean": bins, "adversarial": bins})])

    assert chart(confidence > 0.5) == chart(confidence > 0.5)
    assert chart(confidence > 0.5) != chart(confidence > 0.6)


def test_values_are_rounded_as_the_others(tree: Path) -> None:
    text = json.dumps(beyond_metrics(read_inputs().sets))
    assert max(len(number) for number in re.findall(r"\.(\d+)", text)) <= 4

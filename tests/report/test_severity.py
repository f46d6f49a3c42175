"""The severity of mistakes on the page and in reports/metrics.json."""

import html
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.prepare.wnids import all_wnids
from pipeline.report import page as report
from pipeline.report.inputs import read_inputs
from pipeline.results.files import evaluation_folder
from pipeline.results.hypernyms import ancestor_heights, read_hypernyms
from tests.support.report_inputs import PARAMS, change_verdicts, make_tree, write_classes

WNIDS = all_wnids()[:1000:100]
HEADING = "<h3>Mistake severity</h3>"
STATES = ("clean", "adversarial")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The classes of digits are wnids, those of shapes are not."""
    make_tree(tmp_path)
    write_classes(tmp_path / "data/evaluated_classes/digits.parquet", "digits", WNIDS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def section() -> str:
    return report.render(read_inputs()).split(HEADING)[1].split("<h3")[0]


def row(part: str, title: str) -> list[str]:
    cells = part.split(f'<tr><th scope="row">{title}</th>')[1].split("</tr>")[0]
    texts = re.findall(r"<td>(.*?)</td>", cells)
    return [html.unescape(re.sub("<[^>]*>", "", text)) for text in texts]


def predictions_file(attack: str, model: str) -> Path:
    return evaluation_folder("digits", "template", attack, 4, model) / "predictions.parquet"


def test_metrics_have_it_for_sets_of_wnids_under_the_first_attack(tree: Path) -> None:
    beyond = report.metrics(read_inputs())["beyond"]
    heights = ancestor_heights(read_hypernyms(), WNIDS)
    for model in ("base", "finetuned"):
        assert "severity" not in beyond["shapes"][model]
        rows = pq.read_table(predictions_file("pgd", model)).to_pylist()
        for state in STATES:
            pairs = [(row["label"], row[f"{state}_prediction"]) for row in rows]
            wrong = [(label, answer) for label, answer in pairs if label != answer]
            others = [heights[label, c] for label, _ in wrong for c in range(10) if c != label]
            assert beyond["digits"][model]["severity"][state] == {
                "wrong": len(wrong),
                "mean": round(sum(int(heights[pair]) for pair in wrong) / len(wrong), 4),
                "uniform": round(sum(map(int, others)) / len(others), 4),
            }


def test_the_page_has_the_same_numbers_and_names_the_sets_without(tree: Path) -> None:
    part, severity = section(), report.metrics(read_inputs())["beyond"]["digits"]
    for title, model in (("base", "base"), ("fine-tuned", "finetuned")):
        cells = row(part, title)
        for index, state in enumerate(STATES):
            numbers, shown = severity[model]["severity"][state], cells[3 * index : 3 * index + 3]
            mean, low, high = re.fullmatch(r"([\d.]+) ([\d.]+)–([\d.]+)", shown[0]).groups()
            assert float(mean) == pytest.approx(numbers["mean"], abs=0.0051)
            assert float(low) < float(mean) < float(high)
            assert float(shown[1]) == pytest.approx(numbers["uniform"], abs=0.0051)
            assert shown[2] == str(numbers["wrong"])
    assert "None for shapes: not all of their class ids are among the wnids" in part
    assert "<details>" not in part, "one set is not folded"


def test_a_model_without_a_mistake_says_so(tree: Path) -> None:
    labels = pq.read_table(predictions_file("pgd", "base"))["label"]
    for attack in ("pgd", "apgd_ce"):
        folder = predictions_file(attack, "base").parent
        change_verdicts(folder, clean_prediction=labels)
    assert row(section(), "base")[:3] == ["no mistake", "", "0"]
    measured = report.metrics(read_inputs())["beyond"]["digits"]["base"]["severity"]
    assert measured["clean"] == {"wrong": 0}
    assert measured["adversarial"]["wrong"] > 0


def test_several_sets_of_wnids_are_folded_and_none_is_missed(tree: Path) -> None:
    write_classes(tree / "data/evaluated_classes/shapes.parquet", "shapes", WNIDS[:6])
    part = section()
    folded = part.split("<details>")[1].split("</details>")[0]
    assert re.findall(r'rowgroup"><b>(.*?)</b>', folded) == ["shapes", "digits"]
    assert "None for" not in part


def test_without_a_set_of_wnids_nothing_is_said(tree: Path) -> None:
    Path("params.yaml").write_text(PARAMS.replace("[shapes, digits]", "[shapes]"))
    page = report.render(read_inputs())
    assert "Beyond accuracy" in page
    assert "everity" not in page
    assert "wnid" not in page

"""The report over a made-up input tree."""

import base64
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, write_json, write_table
from pipeline.filtering.table import SCHEMA
from pipeline.report import inputs as report_inputs
from pipeline.report import page as report
from pipeline.report.drawing import picture
from pipeline.report.training import SENTENCES
from pipeline.report.training_log import CURVE
from pipeline.results.files import METRICS
from pipeline.results.statistics import accuracy_per_iterate, disjoint, paired, wilson
from stages import report as stage
from tests.support.report_inputs import PARAMS, SIZE, change_verdicts

OUTPUTS = (METRICS, report.HEADLINE, report.ACCURACY, CURVE, report.PAGE)
DIGITS = "data/evaluation/digits/template/pgd/4"


def test_wilson_known_values() -> None:
    # Newcombe (1998), table I: 81/263, 15/148 and 0/20 with the score method.
    for correct, images, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        share = wilson(correct, images)
        assert (round(share.low, 4), round(share.high, 4)) == (low, high)
    assert wilson(0, 20).low == 0
    assert round(wilson(0, 20).high, 4) == 0.1611
    assert disjoint(wilson(1, 100), wilson(50, 100))
    assert not disjoint(wilson(50, 100), wilson(52, 100))


def test_paired_counts_only_disagreement() -> None:
    first = np.array([True, True, False, False, False, False])
    second = np.array([True, False, True, True, True, False])
    comparison = paired(first, second)
    assert (comparison.images, comparison.gained, comparison.lost) == (6, 3, 1)
    assert comparison.difference == pytest.approx(2 / 6)
    assert comparison.p_value == pytest.approx(0.625)
    assert paired(first, first).p_value == 1


def test_survivors_need_a_right_clean_image() -> None:
    right = np.array([True, True, True, False])
    fooled_at = np.array([-1, 0, 2, -1])
    assert accuracy_per_iterate(right, fooled_at, 3).tolist() == [0.5, 0.5, 0.25, 0.25]


def test_picture_is_a_png_of_the_pixels() -> None:
    pixels = np.zeros((3, 2, 4), dtype=np.float32)
    pixels[0, 1, 3] = 1.0
    image = Image.open(io.BytesIO(base64.b64decode(picture(pixels).split(",")[1])))
    assert image.size == (4, 2)
    assert image.getpixel((3, 1)) == (255, 0, 0)
    assert image.getpixel((0, 0)) == (0, 0, 0)


def test_formats() -> None:
    assert report.percent(0.6128) == "61.3\u00a0%"
    assert [report.points(d) for d in (0.123, -0.038, -0.0001)] == ["+12.3", "\u22123.8", "0.0"]
    nested = {"a": {"b": 1, "c": {}}, "d": ["x"], "e": "text", "f": None}
    flat = [("a.b", "1"), ("a.c", "{}"), ("d", '["x"]'), ("e", "text"), ("f", "null")]
    assert report.flatten(nested) == flat


def test_outputs_are_the_same_bytes_on_a_second_run(tree: Path) -> None:
    stage.main()
    first = [path.read_bytes() for path in OUTPUTS]
    stage.main()
    assert [path.read_bytes() for path in OUTPUTS] == first
    assert sorted(p.name for p in (tree / "reports").rglob("*") if p.is_file()) == sorted(
        path.name for path in OUTPUTS
    )


def test_metrics_hold_rounded_counts_and_unweighted_means(tree: Path) -> None:
    stage.main()
    metrics = json.loads(METRICS.read_text())
    assert list(metrics["datasets"]) == ["digits", "shapes"]
    for model in ("base", "finetuned"):
        means = []
        for name in ("shapes", "digits"):
            folder = Path(f"data/evaluation/{name}/template/apgd_ce/4/{model}")
            counts = json.loads((folder / "metrics.json").read_text())
            exact = counts["robust_any"]["correct"] / counts["robust_any"]["images"]
            assert metrics["datasets"][name][model]["apgd_ce"] == round(exact, 4)
            means.append(exact)
        assert metrics["mean"][model]["apgd_ce"] == round(sum(means) / 2, 4)
    assert metrics["checks"] == {"passed": 1 + 2 * 2 * 5 + 6, "failed": 0}
    headline = {
        key: {model: metrics["mean"][model][key] for model in ("base", "finetuned")}
        for key in ("clean", "robust")
    }
    assert json.loads(report.HEADLINE.read_text()) == {**headline, "failed_checks": 0}
    lines = report.ACCURACY.read_text().splitlines()
    assert lines[0] == "series,dataset,model,measure,accuracy"
    assert len(lines) == 1 + 2 * 2 * 4
    base = metrics["datasets"]["shapes"]["base"]
    assert lines[1:3] == [
        f"shapes base clean,shapes,base,clean,{base['clean']}",
        f"shapes base robust (worst case),shapes,base,robust (worst case),{base['robust']}",
    ]


def test_page_shows_every_set_and_sentence_escaped(tree: Path) -> None:
    page = report.render(report_inputs.read_inputs())
    assert "<title>Demo &lt;report&gt; &amp; more</title>" in page
    for name in ("shapes", "digits"):
        assert f"<b>{name}</b>" in page
    rows = read_table(SENTENCES, SCHEMA).to_pylist()
    for row in rows:
        assert html.escape(row["sentence"]) in page
    assert "<even>" not in page
    assert "cross <x>" not in page
    assert "6 of 6 planted sentences were dropped" in page
    assert "6 of 18 correct ones" in page
    assert "ε = 4/255" in page
    assert "step_255 1.0" in page
    assert "APGD-CE" in page
    # of one of the two sets, under both text sets
    assert page.count("2 unreadable images of the set were left out") == 2
    assert "<h3>texts “unseen”, ε = 4/255</h3>" in page
    assert "SAFT, fine-tuned on “shapes”" in page
    assert "finetune" in page
    assert "options.saft.attention_refinement" in page


def test_the_page_tells_what_prepare_left_out_of_the_training_set(tree: Path) -> None:
    stage.main()
    before = (tree / report.PAGE).read_text()
    path = tree / "data/about/finetuned/recipe.json"
    recipe = json.loads(path.read_text())
    write_json(path, recipe | {"dropped": 3, "set_notes": ["links: 2 left out, e.g. <b>"]})
    stage.main()
    told = " · 3 unreadable images of the set were left out · links: 2 left out, e.g. &lt;b&gt;"
    (start,) = re.findall(r"lowest to highest(?=\.)", before)
    assert (tree / report.PAGE).read_text() == before.replace(f"{start}.", f"{start}{told}.")


def test_page_is_self_contained(tree: Path) -> None:
    page = report.render(report_inputs.read_inputs())
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert "<script" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert page.count('class="example"') == 2 * 2


def test_sets_come_from_params_not_from_the_folder(tree: Path) -> None:
    old = tree / "data/evaluation/old"
    old.mkdir()
    (old / "metrics.json").write_text("not JSON")
    stage.main()
    assert "<b>old</b>" not in report.PAGE.read_text()
    assert "old" not in json.loads(METRICS.read_text())["datasets"]


def test_one_set_without_examples_last_iterate_checks_or_planted(tree: Path) -> None:
    params = PARAMS.replace("[shapes, digits]", "[digits]").replace("[pgd, apgd_ce]", "[pgd]")
    params = params.replace("[template, unseen]", "[template]").replace("[shapes], i", "[], i")
    (tree / "params.yaml").write_text(params, encoding="utf-8")
    empty = np.zeros((0, 3, SIZE, SIZE), dtype=np.float32)
    maps = np.zeros((0, 4, 4), dtype=np.float16)
    none = {"numbers": np.zeros(0, dtype=np.int64), "clean": empty, "perturbation": empty}
    none |= {"clean_attention": maps, "adversarial_attention": maps}
    for model in ("base", "finetuned"):
        folder = tree / DIGITS / model
        change_verdicts(folder, {"budget": 1}, robust_last=[None] * 120)
        save_file(none, folder / "examples.safetensors")
    rows = read_table(SENTENCES, SCHEMA).to_pydict()
    write_table(SENTENCES, rows | {"source": ["llm"] * len(rows["source"])}, SCHEMA)
    page = report.render(report_inputs.read_inputs())
    assert "No examples were kept" in page
    assert "planted" not in page
    assert "mean over the" not in page
    assert "last iterate</th>" not in page.replace("\n", "")
    assert "Further results" not in page
    assert "Accuracy after each iterate" not in page  # the attack tells no iterates
    assert "needs pgd and an apgd_* attack" in page


def test_a_model_without_attention_maps_shows_none_and_says_so(tree: Path) -> None:
    pictures = 'alt="attention of the {} model to “circle” in the'
    whole = report.render(report_inputs.read_inputs())
    path = tree / "data/evaluation/shapes/template/pgd/4/base/examples.safetensors"
    none = np.zeros((3, 0, 0), dtype=np.float16)
    save_file(load_file(path) | {"clean_attention": none, "adversarial_attention": none}, path)
    page = report.render(report_inputs.read_inputs())
    assert [whole.count(pictures.format(m)) for m in ("base", "fine-tuned")] == [2, 2]
    assert [page.count(pictures.format(m)) for m in ("base", "fine-tuned")] == [0, 2]
    assert "No attention maps of" not in whole
    assert page.count("No attention maps of base: behind an attentional pooler") == 1


@pytest.mark.parametrize(
    "path",
    [
        f"{DIGITS}/base/metrics.json",
        f"{DIGITS}/finetuned/predictions.parquet",
        f"{DIGITS}/finetuned/examples.safetensors",
        "data/evaluation/digits/unseen/apgd_ce/4/finetuned/metrics.json",
        "data/checks/shapes/finetuned.json",
        "data/evaluated_classes/digits.parquet",
        "data/about/base/about.json",
        "data/about/finetuned/about.json",
        "data/about/finetuned/recipe.json",
        "data/about/finetuned/training.csv",
        "data/about/finetuned/descriptions.parquet",
        "data/about/finetuned/provenance.json",
        "data/about/finetuned/classes.parquet",
    ],
)
def test_missing_or_broken_input_is_one_line_naming_it(tree: Path, path: str) -> None:
    for content in (None, b"", b"\x80 broken"):
        (tree / path).unlink()
        if content is not None:
            (tree / path).write_bytes(content)
        with pytest.raises(UserError) as raised:
            report_inputs.read_inputs()
        assert path in str(raised.value)
        assert "\n" not in str(raised.value)
        (tree / path).touch()


def test_inputs_that_do_not_fit_are_user_errors(tree: Path) -> None:
    path = tree / DIGITS / "base/metrics.json"
    metrics = json.loads(path.read_text())
    write_json(path, metrics | {"images": 7})
    with pytest.raises(UserError, match="not the 7 images"):
        report_inputs.read_inputs()
    write_json(path, {key: value for key, value in metrics.items() if key != "clean"})
    with pytest.raises(UserError, match="pgd/4/base/metrics.json: missing key 'clean'"):
        report_inputs.read_inputs()


def test_bad_input_leaves_the_old_report_untouched(tree: Path) -> None:
    stage.main()
    before = report.PAGE.read_bytes()
    (tree / "data/about/finetuned/training.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(SystemExit) as left:
        stage.main()
    assert left.value.code == 1
    assert report.PAGE.read_bytes() == before


def test_the_cost_section_has_what_follows_from_the_settings_and_no_time(tree):
    stage.main()
    page = report.PAGE.read_text(encoding="utf-8")
    section = page.split("<h2>Cost</h2>")[1].split("<h2>")[0]
    assert "<code>saft cost</code>" in section
    rows = re.findall(
        r"<tr><th scope=.row.>(.*?)</th><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td>", section
    )
    assert rows[0] == (
        "training, 30 steps of the optimiser", "1,280 × 3 epochs", "7,680"
    )  # fmt: skip
    budgets = {}
    for file in sorted(Path("data/evaluation").glob("*/*/*/*/base/metrics.json")):
        metrics = json.loads(file.read_text())
        key = (metrics["title"], metrics["dataset"], metrics["texts"]["name"])
        budgets[key] = (metrics["images"], metrics["budget"])
    assert len(rows) == 1 + len(budgets)
    for (title, dataset, texts), (images, budget) in budgets.items():
        row = (f"{title} on {dataset}, texts “{texts}”, ε = 4/255", f"{images} × 2 models")
        assert (*row, f"at most {2 * images * budget:,}") in rows

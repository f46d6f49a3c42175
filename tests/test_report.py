"""The report over a made-up input tree (`python -m tests.test_report FOLDER` writes one)."""

import base64
import html
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from safetensors.numpy import save_file

from pipeline import report, report_inputs
from pipeline.errors import UserError
from pipeline.evaluate import accuracies
from pipeline.filtered import SCHEMA
from pipeline.images import CLASS_SCHEMA
from pipeline.predictions import PREDICTIONS
from pipeline.report_figures import picture
from pipeline.statistics import disjoint, paired, survivors, wilson
from pipeline.tables import write_json, write_table
from stages import report as stage

STEPS = 20
SIZE = 16
CLASSES = {
    "shapes": ["circle", "square", "triangle", "star", "cross <x>", "ring"],
    "digits": [f"digit {i}" for i in range(10)],
}
PARAMS = """\
report: {title: "Demo <report> & more", examples: 2}
evaluate: {datasets: [shapes, digits], attack: pgd, images: null}
finetune: {dataset: shapes, options: {saft: {attention_refinement: 0.08}}, learning_rate: 1e-3}
filter:
  top_k: 2
  reference: class_name
  template: This is a <photo> of a {}
  images_per_class: 20
  diversity: 0.0
  min_similarity: null
  min_margin: null
  short_class: repeat
  cleaning: {min_words: 3, near_duplicate: 0.95, too_long: shorten}
"""
OUTPUTS = (report.METRICS, report.ACCURACY, report.PAGE)


def columns(model: str, count: int, classes: int, strength: float, rng: Any) -> dict[str, Any]:
    """Columns of PREDICTIONS; `strength` is the share that survives the attack."""
    label = (np.arange(count) % classes).astype(np.int32)
    right = rng.random(count) < (0.95 if model == "base" else 0.9)
    survives = right & (rng.random(count) < strength)
    fooled = np.minimum(rng.geometric(0.4, count) - 1, STEPS)
    wrong = ((label + 1 + rng.integers(classes - 1, size=count)) % classes).astype(np.int32)
    fooled_at = np.where(survives, -1, np.where(right, fooled, 0)).astype(np.int32)
    last = [bool(s) if i % 4 == 0 else None for i, s in enumerate(survives)]
    return {
        "model": [model] * count,
        "number": np.arange(count) * 3,
        "label": label,
        "clean_prediction": np.where(right, label, wrong),
        "clean_margin": rng.normal(size=count).astype(np.float32),
        "adversarial_prediction": np.where(survives, label, wrong),
        "adversarial_margin": rng.normal(size=count).astype(np.float32),
        "fooled_at": fooled_at,
        "robust_any": survives,
        "robust_last": last,
    }


def write_set(root: Path, name: str, count: int, tuned: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = CLASSES[name]
    models = {
        "base": columns("base", count, len(names), 0.03, rng),
        "finetuned": columns("finetuned", count, len(names), tuned, rng),
    }
    folder = root / "data/evaluation" / name
    parts = [pa.Table.from_pydict(c, schema=PREDICTIONS) for c in models.values()]
    write_table(folder / "predictions.parquet", pa.concat_tables(parts).to_pydict(), PREDICTIONS)
    settings = {"attack": "pgd", "epsilon_255": 4, "step_255": 1.0, "steps": STEPS, "seed": 3}
    settings |= {"robust": "any", "templates": ["a photo of a {}", "a picture of {}"]}
    seen = len(names) if name == "shapes" else 0
    found = {"dataset": name, "images": count, "classes": len(names), "seen_in_training": seen}
    write_json(
        folder / "metrics.json",
        found | settings | {model: accuracies(c) for model, c in models.items()},
    )
    clean = np.kron(rng.random((3, 3, 4, 4)), np.ones((1, 1, 4, 4))).astype(np.float32)
    noise = {m: (rng.integers(-1, 2, clean.shape) * 4 / 255).astype(np.float32) for m in models}
    base, tuned = noise["base"], noise["finetuned"]
    numbers = np.arange(3) * 3
    arrays = {"numbers": numbers, "clean": clean, "base": base, "finetuned": tuned}
    save_file(
        {k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "examples.safetensors"
    )
    ids = [f"{name}-{i}" for i in range(len(names))]
    write_table(
        root / f"data/classes/{name}.parquet",
        {"label": range(len(names)), "class_id": ids, "name": names},
        CLASS_SCHEMA,
    )


def sentence_row(**values: Any) -> dict[str, Any]:
    """A row of data/filtered/descriptions.parquet: kept and scored unless `values` differ."""
    row = {"class_id": "a", "class_name": "circle", "sentence": "A round one.", "source": "llm"}
    row |= {"prompt_set": "", "prompt_id": "", "sample_index": 0, "tokens": 9, "shortened": False}
    row |= {"score": 0.8, "margin": 0.1, "nearest_class": "b", "rank": 0, "kept": True}
    return row | {"reason": None} | values


def write_rows(root: Path, rows: list[dict[str, Any]]) -> None:
    columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
    write_table(root / "data/filtered/descriptions.parquet", columns, SCHEMA)


def write_sentences(root: Path) -> None:
    """Four sentences per class: two kept, a correct and a planted one dropped."""
    rows = []
    for label, name in enumerate(CLASSES["shapes"]):
        texts = [
            (f"A {name} is a plain figure drawn in one colour on an even background.", "bundled"),
            (f"A {name} can be told from other figures by its outline.", "bundled"),
            (f"It looks like a {name} & has an <even> edge.", "bundled"),
            (f"The {name} is a large mammal that lives in herds.", "bundled, planted"),
        ]
        own = {"class_id": f"shapes-{label}", "class_name": name}
        own["nearest_class"] = f"shapes-{(label + 1) % len(CLASSES['shapes'])}"
        for rank, (text, source) in enumerate(texts):
            found = {"score": 0.9 - 0.1 * rank, "margin": 0.3 - 0.1 * rank - 0.01 * label}
            verdict = {"rank": rank, "kept": rank < 2, "reason": None if rank < 2 else "rank"}
            rows.append(sentence_row(sentence=text, source=source, **own, **found, **verdict))
    write_rows(root, rows)


def write_training(root: Path, steps: int = 240) -> None:
    terms = "cross_entropy,attention_refinement,attention_constraint"
    lines = [f"step,learning_rate,loss,{terms},adversarial_accuracy,clean_accuracy"]
    rng = np.random.default_rng(0)
    for step in range(steps):
        rate = 1e-3 * min(1, (step + 1) / 30) * (1 - step / steps)
        entropy = 0.4 + 1.6 * np.exp(-step / 60) + 0.05 * rng.normal()
        values = [rate, entropy + 2, entropy, 20 + rng.normal(), 8 + rng.normal(), 0.7, 0.9]
        lines.append(",".join([str(step), *(f"{v:.6g}" for v in values)]))
    path = root / "data/model/training.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_tree(root: Path) -> None:
    write_set(root, "shapes", 300, 0.7, 1)
    write_set(root, "digits", 120, 0.3, 2)
    write_sentences(root)
    write_training(root)
    write_json(root / "data/descriptions/provenance.json", {"backend": "bundled", "files": ["a"]})
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
    found = paired(first, second)
    assert (found.images, found.gained, found.lost) == (6, 3, 1)
    assert found.difference == pytest.approx(2 / 6)
    assert found.p_value == pytest.approx(0.625)
    assert paired(first, first).p_value == 1


def test_survivors_need_a_right_clean_image() -> None:
    right = np.array([True, True, True, False])
    fooled_at = np.array([-1, 0, 2, -1])
    assert survivors(right, fooled_at, 3).tolist() == [0.5, 0.5, 0.25, 0.25]


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
    found = json.loads(report.METRICS.read_text())
    assert list(found["datasets"]) == ["digits", "shapes"]
    for model in ("base", "finetuned"):
        means = []
        for name in ("shapes", "digits"):
            counts = json.loads(Path(f"data/evaluation/{name}/metrics.json").read_text())[model]
            exact = counts["robust_any"]["correct"] / counts["robust_any"]["images"]
            assert found["datasets"][name][model]["robust_any"] == round(exact, 4)
            means.append(exact)
        assert found["mean"][model]["robust_any"] == round(sum(means) / 2, 4)
    lines = report.ACCURACY.read_text().splitlines()
    assert lines[0] == "series,dataset,model,measure,accuracy"
    assert len(lines) == 1 + 2 * 2 * 2
    base = found["datasets"]["shapes"]["base"]
    assert lines[1:3] == [
        f"shapes base clean,shapes,base,clean,{base['clean']}",
        f"shapes base robust (any),shapes,base,robust (any),{base['robust_any']}",
    ]


def test_page_shows_every_set_and_sentence_escaped(tree: Path) -> None:
    page = report.render(report_inputs.read_inputs())
    assert "<title>Demo &lt;report&gt; &amp; more</title>" in page
    for name in ("shapes", "digits"):
        assert f"<b>{name}</b>" in page
    rows = report_inputs.read_table(report_inputs.FILTERED, SCHEMA).to_pylist()
    for row in rows:
        assert html.escape(row["sentence"]) in page
    assert "<even>" not in page
    assert "cross <x>" not in page
    assert "6 of 6 planted sentences were dropped" in page
    assert "6 of 18 correct ones" in page
    assert "ε = 4/255" in page
    assert "PGD, 20 steps of 1/255" in page
    assert "finetune" in page
    assert "options.saft.attention_refinement" in page


def test_page_is_self_contained(tree: Path) -> None:
    page = report.render(report_inputs.read_inputs())
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert page.count('class="example"') == 2 * 2


def test_numbers_of_the_table(tree: Path) -> None:
    found = report_inputs.read_inputs().sets[0]
    view = report.set_view(found, 0)
    clean, robust, last = view["rows"]
    counts = json.loads(Path("data/evaluation/shapes/metrics.json").read_text())
    gain = counts["finetuned"]["robust_any"]["correct"] - counts["base"]["robust_any"]["correct"]
    assert robust["gained"] - robust["lost"] == gain
    assert robust["difference"] == pytest.approx(gain / 300)
    assert clean["images"] == 300
    assert last["images"] == last["base"].images == 75
    assert view["examples"] == []


def test_sets_come_from_params_not_from_the_folder(tree: Path) -> None:
    old = tree / "data/evaluation/old"
    old.mkdir()
    (old / "metrics.json").write_text("not JSON")
    stage.main()
    assert "<b>old</b>" not in report.PAGE.read_text()
    assert "old" not in json.loads(report.METRICS.read_text())["datasets"]


def test_one_set_without_examples_last_iterate_or_planted(tree: Path) -> None:
    params = PARAMS.replace("[shapes, digits]", "[digits]")
    (tree / "params.yaml").write_text(params, encoding="utf-8")
    path = tree / "data/evaluation/digits/metrics.json"
    found = json.loads(path.read_text())
    for model in report.MODELS:
        found[model]["robust_last"] = None
    write_json(path, found)
    empty = np.zeros((0, 3, SIZE, SIZE), dtype=np.float32)
    none, place = np.zeros(0, dtype=np.int64), path.with_name("examples.safetensors")
    save_file({"numbers": none, "clean": empty, "base": empty, "finetuned": empty}, place)
    rows = report_inputs.read_table(report_inputs.FILTERED, SCHEMA).to_pydict()
    write_table(report_inputs.FILTERED, rows | {"source": ["llm"] * len(rows["source"])}, SCHEMA)
    page = report.render(report_inputs.read_inputs())
    assert "No examples were kept" in page
    assert "planted" not in page
    assert "unweighted" not in page
    assert "robust (last)" not in page


@pytest.mark.parametrize(
    "path",
    [
        "data/evaluation/digits/metrics.json",
        "data/evaluation/digits/predictions.parquet",
        "data/evaluation/digits/examples.safetensors",
        "data/classes/digits.parquet",
        "data/model/training.csv",
        "data/filtered/descriptions.parquet",
        "data/descriptions/provenance.json",
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
    path = tree / "data/evaluation/digits/metrics.json"
    found = json.loads(path.read_text())
    write_json(path, found | {"images": 7})
    with pytest.raises(UserError, match="not the 7 images"):
        report_inputs.read_inputs()
    write_json(path, {key: value for key, value in found.items() if key != "base"})
    with pytest.raises(UserError, match="digits/metrics.json: missing key 'base'"):
        report_inputs.read_inputs()


def test_bad_input_leaves_the_old_report_untouched(tree: Path) -> None:
    stage.main()
    before = report.PAGE.read_bytes()
    (tree / "data/model/training.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(SystemExit) as left:
        stage.main()
    assert left.value.code == 1
    assert report.PAGE.read_bytes() == before


if __name__ == "__main__":
    make_tree(Path(sys.argv[1]))

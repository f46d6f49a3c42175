"""The page says how images came to their size, and in which space the ball lies; its columns are
accuracies, never rates of success."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from pipeline.common import registry
from pipeline.images.decoding import fit
from pipeline.prepare.facts import published_facts
from pipeline.report import page as report
from pipeline.report.inputs import read_inputs
from pipeline.report.sizes import RULES, size_rule, size_view
from pipeline.results.evaluated import read_evaluated
from pipeline.results.files import METRICS
from saft.evaluation import table
from stages import report as stage
from tests.support.pages import first_column
from tests.support.project import ROOT
from tests.support.report_inputs import ATTACKS, EPSILON, PARAMS, make_tree

SPECS = {
    "crop": {"source": "food101", "size": 224, "resize": "crop"},
    "stretch": {"source": "cifar10", "size": 224, "resize": "stretch"},
    "native": {"source": "cifar10", "size": 32, "resize": "native"},
    "left out": {"source": "cifar10", "size": 224},
    "null": {"source": "cifar10", "size": 224, "resize": None},
}
SAID = {
    "crop": "shorter side resized to 256, then the middle 224 x 224 cut out, of images that had "
    "the size already too",
    "stretch": "both sides resized to 224",
    "native": "as in their files, 32 x 32, not resized",
    "left out": "by the rule of source cifar10 (docs/data-sets.md)",
    "null": "by the rule of source cifar10 (docs/data-sets.md)",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rendered(tree: Path, params: str = PARAMS) -> str:
    (tree / "params.yaml").write_text(params)
    stage.main()
    return html.unescape(report.PAGE.read_text())


@pytest.mark.parametrize("case", SPECS)
def test_a_rule_is_that_of_prepare(case: str) -> None:
    assert size_rule(SPECS[case]) == SAID[case]


def test_a_crop_changes_an_image_that_has_the_size_already() -> None:
    """Which is why the rule says so: the image is enlarged to 256 first."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8))
    pixels = np.asarray(picture).transpose(2, 0, 1)
    cropped = fit(picture, 224, "crop")
    reference = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])(picture)
    np.testing.assert_array_equal(cropped, np.asarray(reference).transpose(2, 0, 1))
    assert (cropped != pixels).mean() > 0.9
    for rule in ("stretch", "native"):
        np.testing.assert_array_equal(fit(picture, 224, rule), pixels)
    assert set(RULES) == {"crop", "stretch", "native"}


def test_the_page_says_of_every_set_how_it_was_resized(tree: Path) -> None:
    sets = {"shapes": SPECS["crop"], "digits": SPECS["left out"], "unused": SPECS["native"]}
    params = f"{PARAMS}prepare: {json.dumps({'sets': sets})}\n"
    said = f"any attack: shapes: {SAID['crop']}; digits: {SAID['left out']}.</p>"
    assert said in rendered(tree, params)
    (tree / "params.yaml").write_text(
        params.replace('"digits": {', '"digits": {"resize": "crop", ')
    )
    alike = size_view(read_inputs())
    assert alike == {SAID["crop"]: ["shapes", "digits"]}


def test_the_docs_name_the_sources_of_each_rule() -> None:
    modules = [
        registry.load("pipeline.datasets", n, "test") for n in registry.names("pipeline.datasets")
    ]
    resize_of = {
        module.__name__.rpartition(".")[2]: published.resize
        for module in modules
        if (published := published_facts(module)) is not None
    }
    stretched = {name for name, resize in resize_of.items() if resize == "stretch"}
    rows = (ROOT / "docs/data-sets.md").read_text().splitlines()
    row = next(line for line in rows if line.startswith("| `stretch` |"))
    assert set(re.findall(r"`(\w+)`", row.split("|")[3])) == stretched
    assert set(resize_of.values()) == {"stretch", "crop"}, "all others are cropped"
    assert first_column("docs/data-sets.md", "`resize`") == ["stretch", "crop", "native"]


def test_the_page_says_in_which_space_the_ball_lies(tree: Path) -> None:
    for file in (tree / "data/evaluation").rglob("metrics.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"space": "native"}))
    said = "measured on the pixels of the images as packed, which the model resizes ([0, 1], before"
    assert said in rendered(tree, PARAMS.replace("space: model", "space: native"))


def test_columns_and_measures_are_accuracies_and_never_rates(tree: Path) -> None:
    """An attack's success rate and the accuracy under it are easily taken for each other."""
    page = rendered(tree)
    assert "measured on the model’s input pixels ([0, 1], before normalisation)" in page
    titles = re.findall(r"<th[^>]*>(.*?)</th>", page, re.DOTALL)
    assert any("robust (worst case)" in title for title in titles)
    measures = {key for of in json.loads(METRICS.read_text())["datasets"].values()
                for values in of.values() for key in values}  # fmt: skip
    names = list(ATTACKS), EPSILON, ["base", "finetuned"]
    printed = table.markdown([read_evaluated("shapes", "template", *names)], "base")
    header = printed.splitlines()[0]
    rate = re.compile(r"\b(success|fooling|error)?[ _]?rates?\b|\bsuccess", re.IGNORECASE)
    for title in [*titles, *measures, header, report.ACCURACY.read_text().splitlines()[0]]:
        assert not rate.search(title), title
    assert '<th scope="col">accuracy</th>' in page
    assert "right on the clean image and at every iterate" in page
    assert rate.search("attack success rate")

"""A folder as people have it through every stage from `prepare` to `report`: what was done about
its left-overs stands in summary.json, in metrics.json and on the page."""

import html
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline.clip.folders import BASE
from pipeline.clip.folders import clip_folder as folder_of_model
from pipeline.images.classes import read_classes
from pipeline.images.image_set import open_images
from pipeline.results.files import METRICS, evaluation_folder
from stages import classes, embed, evaluate, prepare, report, texts
from tests.support.dataset_fixtures.base import noise
from tests.support.report_inputs import write_about
from tests.support.tiny_project import write_params

NAMES = {"n01443537": "goldfish", "n02123394": "caf\u00e9 cat", "n02129165": "lion"}
SET = {"source": "imagefolder", "names": None, "classes": None, "images_per_class": None,
       "skip": 0, "size": 16, "resize": "stretch"}  # fmt: skip
SAID = [
    "files ending in .heic: 1 left out, e.g. n01443537/IMG_1.heic",
    "folders that links lead to twice: 2 left out, e.g. n01443537/again",
    "hidden folders and folders of programs: 2 left out, e.g. @eaDir",
]
WNIDS = "3 class names are wnids, which tell CLIP nothing of the class (n01443537, n02123394, n02"


def draw(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, 30, 20)).save(file)


def as_people_have_it(root: Path) -> None:
    """Three wnids of four pictures, thumbnails of a file server, two links to what is there, a
    photograph that cannot be read, and a table with a byte-order mark."""
    for number in range(12):
        draw(root / list(NAMES)[number % 3] / f"{number}.png", number)
    draw(root / "@eaDir/n01443537/0.png", 50)
    draw(root / "n02129165/@eaDir/2.png/THUMB_M.jpg", 51)
    (root / "n01443537/again").symlink_to(root)
    (root / "n02123394/lions").symlink_to("../n02129165")
    (root / "n01443537/IMG_1.heic").write_bytes(b"\0\0\0\x18ftypheic")
    rows = [f"{wnid}\t{name}" for wnid, name in NAMES.items()]
    (root / "classes.tsv").write_text("\ufeff" + "\r\n".join(["id\tname", *rows]), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that evaluates the folder, with its table and without, on one tiny model."""
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    for name in ("DVC_ROOT", "DVC_STAGE", "SAFT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("animals", "unnamed"):
        as_people_have_it(tmp_path / "data/raw" / name)
    (tmp_path / "data/raw/unnamed/classes.tsv").unlink()
    sets = {"named": SET | {"root": "animals"}, "unnamed": SET | {"root": "unnamed"}}
    changes = {"prepare.sets": sets, "evaluate.datasets": list(sets), "evaluate.models": ["base"],
               "evaluate.checks.datasets": [], "evaluate.attacks": ["pgd"], "evaluate.examples": 1,
               "evaluate.options.pgd.steps": 2, "evaluate.last_images": 2,
               "embed.texts.template": {"default": ["a {}"]}}  # fmt: skip
    write_params(tmp_path, **changes)
    shutil.copytree(clip_folder, tmp_path / folder_of_model(BASE))
    write_about(tmp_path, BASE)
    return tmp_path


def test_what_was_done_about_it_is_in_the_summary_and_in_the_report(project: Path, capsys) -> None:
    for name in ("named", "unnamed"):
        prepare.main(name)
        classes.main(name)
    printed = capsys.readouterr().out
    assert [open_images(name).labels.tolist() for name in ("named", "unnamed")] == [
        [0] * 4 + [1] * 4 + [2] * 4
    ] * 2
    assert {entry.class_id: entry.name for entry in read_classes("named")} == NAMES
    summaries = {
        name: json.loads((project / f"data/images/{name}/summary.json").read_text())
        for name in ("named", "unnamed")
    }
    for name, summary in summaries.items():
        assert [kind["count"] for kind in summary["left_out"].values()] == [1, 2, 2]
        assert f"{name}: {SAID[1]}" in printed
    assert "notes" not in summaries["named"]
    assert summaries["unnamed"]["notes"][0].startswith(WNIDS)
    texts.main("template")
    embed.main(BASE, "template")
    for name in ("named", "unnamed"):
        evaluate.main(name, "pgd", "template", "4", BASE)
        folder = project / evaluation_folder(name, "template", "pgd", 4, BASE)
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["set_notes"] == [*SAID, *summaries[name].get("notes", [])]
    report.main()
    page = html.unescape((project / "reports/report.html").read_text())
    for line in SAID:
        assert page.count(line) == 2
    assert page.count(WNIDS) == 1
    assert set(json.loads((project / METRICS).read_text())["datasets"]) == {"named", "unnamed"}

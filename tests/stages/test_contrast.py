"""Contrast questions from the base model to the server: confusable classes by text and by images,
the questions that name them, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipeline.clip import model as clip
from pipeline.clip.folders import BASE_MODEL
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.tables import read_table, write_table
from pipeline.descriptions.confusions import FOLDER, SCHEMA
from pipeline.images.classes import CLASS_SCHEMA, ClassEntry, write_classes
from pipeline.images.image_set import open_images
from stages import confusions, describe, image_confusions
from tests.support.failures import fails, one_line
from tests.support.openai_server import Server, completion
from tests.support.project import DEMO, ROOT
from tests.support.tiny_project import keep_one_class

NAMES = ["pike", "trout", "eel"]
BY_TEXT = {"classes_per_class": 1, "template": "a photo of a {}"}
BY_IMAGES = {"classes_per_class": 2, "template": "a photo of a {}", "images_per_class": 2}
TABLE = Path("data/classes/tiny.parquet")


@pytest.fixture
def project(packed: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set "tiny" with the names of fish, the base model, and an entry of both kinds."""
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    monkeypatch.setenv("DVC_ROOT", str(packed))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    shutil.copytree(clip_folder, packed / BASE_MODEL)
    for name in ("prompts", "exemplars", "confusions"):
        shutil.copytree(ROOT / "data" / name, packed / "data" / name)
    rename(NAMES)
    set_params()
    return packed


def rename(names: list[str]) -> None:
    rows = read_table(TABLE, CLASS_SCHEMA).to_pydict()
    write_table(TABLE, rows | {"name": names}, CLASS_SCHEMA)


def set_params(**changes: Any) -> None:
    """The demo's params.yaml with both entries; keywords are keys of section describe."""
    values = YAML(typ="safe").load(DEMO.read_text())
    values["confusions"] = {"text": {"names": BY_TEXT}, "images": {"photos": BY_IMAGES}}
    values["describe"] |= {"dataset": "tiny", **changes}
    with open("params.yaml", "w") as stream:
        YAML().dump(values, stream)


def rows_of(name: str) -> list[dict[str, Any]]:
    return read_table(FOLDER / f"{name}.parquet", SCHEMA).to_pylist()


def text_features() -> torch.Tensor:
    texts = [f"a photo of a {name}" for name in NAMES]
    return encode_texts(clip.load(BASE_MODEL), texts, torch.device("cpu"))


def ask(prompts: str = "contrast", chosen: str = "names", **changes: Any) -> list[dict[str, Any]]:
    """The bodies that arrive at a server when the stage describes; keywords are more keys."""
    server = Server(lambda number, body: completion(body))
    options = YAML(typ="safe").load(DEMO.read_text())["describe"]["options"]["openai"]
    options |= {"base_url": server.url, "answers": 1, "sentences": 3, "concurrency": 1}
    changes |= {"backend": "openai", "options": {"openai": options}}
    set_params(prompts=prompts, confusions=chosen, **changes)
    try:
        describe.main()
    finally:
        server.stop()
    return server.bodies


def test_by_text_the_nearest_class_is_found_without_an_image(project):
    shutil.rmtree("data/images")
    confusions.main("names")
    rows, first = rows_of("names"), (FOLDER / "names.parquet").read_bytes()
    cosines = (text_features() @ text_features().T).numpy()
    np.fill_diagonal(cosines, -1)
    assert [row["confused_with"] for row in rows] == [f"n{i:02}" for i in cosines.argmax(1)]
    np.testing.assert_allclose([row["score"] for row in rows], cosines.max(1), atol=1e-6)
    confusions.main("names")
    assert (FOLDER / "names.parquet").read_bytes() == first


def test_by_images_the_classes_that_the_model_takes_them_for(project):
    image_confusions.main("photos")
    rows, first = rows_of("photos"), (FOLDER / "photos.parquet").read_bytes()
    model, images = clip.load(BASE_MODEL), open_images("tiny")
    # by hand: the first and the middle one of the images of the first class
    numbers = np.flatnonzero(images.labels == 0)[[0, 2]]
    pixels = torch.from_numpy(np.stack([images.pixels[number] for number in numbers])) / 255
    with torch.no_grad():
        pooled = clip.image_encoder(model)(pixels).pooled
    scale = float(model.model.logit_scale.detach().exp())
    mean = (scale * pooled @ text_features().T).softmax(1).mean(0).numpy()
    assert [(row["class_id"], row["rank"]) for row in rows[:3]] == [
        ("n00", 0), ("n00", 1), ("n01", 0),
    ]  # fmt: skip
    assert [row["confused_with"] for row in rows[:2]] == [
        f"n{i:02}" for i in sorted((1, 2), key=lambda label: -mean[label])
    ]
    expected = sorted(mean[1:], reverse=True)
    np.testing.assert_allclose([row["score"] for row in rows[:2]], expected, atol=1e-5)
    image_confusions.main("photos")
    assert (FOLDER / "photos.parquet").read_bytes() == first


def test_the_server_is_asked_what_tells_a_class_from_those(project):
    confusions.main("names")
    name_of = dict(zip(("n00", "n01", "n02"), NAMES, strict=True))
    bodies = ask()
    lines = [body["messages"][0]["content"].split("\n")[0] for body in bodies]
    article = {"eel": "an eel", "pike": "a pike", "trout": "a trout"}
    assert [line for line in lines if line.startswith("What tells")] == [
        f"What tells {article[name_of[row['class_id']]]} apart from "
        f"{article[name_of[row['confused_with']]]} to the eye?"
        for row in rows_of("names")
    ]
    assert len(bodies) == 9
    provenance = json.loads(Path("data/descriptions/provenance.json").read_text())
    assert provenance["confusions"] == "names"
    assert provenance["confusions_per_class"] == 1
    assert provenance["prompts"] == "contrast"


def test_classes_that_are_not_described_are_named_with_their_glosses(project):
    glosses = ["", "a bird", "a bird"]
    entries = [ClassEntry(f"n{i:02}", name, glosses[i]) for i, name in enumerate(NAMES)]
    write_classes(TABLE, entries, ())
    image_confusions.main("photos")
    with_gloss = str(ask(chosen="photos", only=["n00"], gloss="known"))
    assert "a trout (a bird)" in with_gloss
    assert "an eel (a bird)" in with_gloss
    without = str(ask(chosen="photos", only=["n00"], gloss="none"))
    assert "What tells a pike apart from" in without
    assert "a bird" not in without


def test_other_prompt_sets_ask_as_before(project):
    bodies = ask("appearance", "none")
    assert "What does a pike typically look like?" in str(bodies[0])
    provenance = json.loads(Path("data/descriptions/provenance.json").read_text())
    assert not [key for key in provenance if key.startswith("confusions")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "openai", "prompts": "contrast"}, "prompt set contrast asks about confusable"),
        ({"backend": "openai", "confusions": "names"}, "prompt set visual has no {others} for"),
        ({"confusions": "names"}, "backend bundled asks no model; set none"),
        ({"backend": "openai", "prompts": "contrast", "confusions": "far"},
         "data/confusions/far.parquet: not found"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_before_anybody_is_asked(
    project, capsys, changes, message
):
    set_params(**changes)
    confusions.main("names")
    capsys.readouterr()
    assert fails(describe.main) == 1
    assert message in one_line(capsys)
    assert not Path("data/descriptions").exists()


def test_a_class_that_the_file_does_not_have(project, capsys):
    confusions.main("names")
    entries = [ClassEntry(f"n{i:02}", name) for i, name in enumerate([*NAMES, "carp"])]
    write_classes(TABLE, entries, ())
    set_params(backend="openai", prompts="contrast", confusions="names")
    capsys.readouterr()
    assert fails(describe.main) == 1
    line = one_line(capsys)
    assert "names.parquet: no confusable class for class 'n03'" in line
    assert "dvc repro stages/dvc.yaml:describe" in line


@pytest.mark.parametrize(("stage", "name"), [(confusions, "names"), (image_confusions, "photos")])
def test_one_class_or_one_name_is_an_error(project, capsys, stage, name):
    rename(["pike", "Pike", "pike"])
    assert fails(stage.main, name) == 1
    assert "class 'n00' cannot be contrasted" in one_line(capsys)
    keep_one_class()
    assert fails(stage.main, name) == 1
    assert "class 'n00' cannot be contrasted" in one_line(capsys)
    assert not (FOLDER / f"{name}.parquet").exists()


@pytest.mark.parametrize(("stage", "kind"), [(confusions, "text"), (image_confusions, "images")])
def test_entries_that_are_not_there(project, capsys, stage, kind):
    assert fails(stage.main, "far") == 1
    assert f"'confusions.{kind}.far' is missing" in one_line(capsys)
    assert fails(stage.main, "none") == 1
    assert "'none' stands for none" in one_line(capsys)

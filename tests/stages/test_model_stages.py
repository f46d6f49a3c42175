"""The stages that make models and tell of them: pretrain, model, record, about."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from pipeline.clip import model as clip
from pipeline.clip.about import read_about
from pipeline.clip.folders import ABOUT, BASE_MODEL, MODEL, MODELS, RECIPE, record_folder
from pipeline.clip.towers import image_tower_hash, text_tower_hash
from pipeline.common.tables import write_json
from pipeline.models.pretraining import FOLDER as PRETRAINED
from stages import about, model, pretrain, record
from tests.support.project import DEMO
from tests.support.tiny_project import write_params

SMALL = {
    "dataset": "tiny", "width": 32, "layers": 1, "patch_size": 4, "steps": 3, "batch_size": 8,
    "text_width": 32, "text_layers": 1, "embed_dim": 16, "captions": "captions.json",
}  # fmt: skip
LOCAL = {"source": "local", "defended": "unknown", "licence": "MIT", "citation": "A. Author, 2026"}


def small(**changes: Any) -> dict[str, Any]:
    """Entry `small` of the demo's section pretrain, made smaller."""
    values: dict[str, Any] = YAML(typ="safe").load(DEMO.read_text())["pretrain"]["small"]
    return values | SMALL | changes


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


ATTACK = {"norm": "linf", "epsilon_255": 1, "step_255": 1, "steps": 2, "random_start": True}


@pytest.fixture
def project(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set "tiny", and params.yaml with a small CLIP of it."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (packed / "captions.json").write_text('{"n00": ["a red thing"]}')
    write_params(packed, pretrain={"small": small()})
    return packed


@pytest.fixture
def local(project: Path, clip_folder: Path) -> Path:
    """An open_clip folder below the data root, which model `mine` of params.yaml is."""
    folder = project / "data/raw/mine"
    shutil.copytree(clip_folder, folder)
    write_params(project, models={"mine": LOCAL | {"options": {"path": "mine"}}})
    return folder


def test_a_small_clip_is_pretrained_and_then_a_model_with_a_record(project: Path, capsys) -> None:
    pretrain.main("small")
    folder = PRETRAINED / "small"
    assert set(contents(folder)) == {
        clip.CONFIG_FILE, clip.WEIGHTS_FILE, "origin.json", "pretraining.csv",
    }  # fmt: skip
    log = pd.read_csv(folder / "pretraining.csv")
    assert log.step.tolist() == [0, 1, 2]
    assert np.isfinite(log.loss).all()
    model.main("base")
    weights, origin = (
        load_file(BASE_MODEL / clip.WEIGHTS_FILE),
        load_file(folder / clip.WEIGHTS_FILE),
    )
    assert all(value.equal(origin[name]) for name, value in weights.items())
    loaded, _, _ = open_clip.create_model_and_transforms(f"local-dir:{BASE_MODEL}")
    told = read_about(record_folder("base"))
    assert (told.name, told.source, told.hub_id) == ("base", "pretrain", None)
    assert told.origin == (
        "a small CLIP trained from scratch on image set `tiny` (3 steps of 8 image-text pairs)"
    )
    assert (told.defended, told.licence, told.citation) == ("false", None, None)
    assert told.parameters == sum(weight.numel() for weight in loaded.parameters())
    assert told.image_size == 16


def test_the_same_params_give_the_same_bytes(project: Path) -> None:
    pretrain.main("small")
    model.main("base")
    first = contents(project / PRETRAINED), contents(project / MODELS)
    pretrain.main("small")
    model.main("base")
    assert (contents(project / PRETRAINED), contents(project / MODELS)) == first
    write_params(project, pretrain={"small": small(seed=1)})
    pretrain.main("small")
    other = contents(project / PRETRAINED)
    assert other[f"small/{clip.WEIGHTS_FILE}"] != first[0][f"small/{clip.WEIGHTS_FILE}"]


def test_a_model_is_told_of_as_params_yaml_does(local: Path) -> None:
    model.main("mine")
    assert set(contents(MODELS / "mine")) == {
        f"clip/{clip.CONFIG_FILE}", f"clip/{clip.WEIGHTS_FILE}", "record/about.json",
    }  # fmt: skip
    told = read_about(record_folder("mine"))
    loaded = clip.load(local)
    assert (told.name, told.source) == ("mine", "local")
    assert told.origin == "the CLIP folder `mine`", "without the path to it"
    assert (told.defended, told.licence, told.citation) == ("unknown", "MIT", "A. Author, 2026")
    assert told.image_tower == image_tower_hash(loaded)
    assert told.text_tower == text_tower_hash(loaded)


@pytest.mark.parametrize(
    ("models", "name", "message"),
    [
        ({}, "mine", "params.yaml: models has no 'mine', only none"),
        ({"finetuned": LOCAL}, "finetuned", "'finetuned' is what fine-tuning makes; name it oth"),
        ({"a.b": LOCAL}, "a.b", "'a.b' cannot be a name"),
        ({"mine": LOCAL}, "mine", "params.yaml: models.mine: missing key 'options'"),
        ({"mine": LOCAL | {"options": {"paht": "x"}}}, "mine", "models.mine.options: "),
        ({"mine": LOCAL | {"options": {}, "source": "magic"}}, "mine",
         "models.mine.source: 'magic' is not one of checkpoint, local"),
        ({"mine": LOCAL | {"options": {}, "defended": "yes"}}, "mine", "key 'defended'"),
        ({"mine": LOCAL | {"options": {"path": "absent"}}}, "mine", "absent"),
    ],
)  # fmt: skip
def test_a_model_that_is_none_ends_the_stage_in_a_message(
    project: Path, capsys, models, name, message
) -> None:
    write_params(project, models=models)
    with pytest.raises(SystemExit):
        model.main(name)
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not MODELS.exists()


def test_weights_that_are_no_numbers_are_refused(local: Path, capsys) -> None:
    weights = load_file(local / clip.WEIGHTS_FILE)
    weights["visual.proj"][0, 0] = float("nan")
    save_file(weights, local / clip.WEIGHTS_FILE)
    with pytest.raises(SystemExit):
        model.main("mine")
    error = capsys.readouterr().err
    assert "mine" in error
    assert "Traceback" not in error
    assert not MODELS.exists()


@pytest.fixture
def tuned(project: Path, clip_folder: Path) -> Path:
    """A fine-tuned model and what was written before it, made up."""
    shutil.copytree(clip_folder, MODEL)
    recipe = {"title": "SAFT", "dataset": "tiny", "attack": ATTACK}
    write_json(RECIPE, recipe)
    (MODEL / "training.csv").write_text("step,loss\n0,1.0\n")
    for name in ("filtered/descriptions.parquet", "descriptions/provenance.json"):
        path = project / "data" / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    return project


@pytest.mark.parametrize(("attack", "defended"), [({"norm": "linf"}, "true"), (None, "unknown")])
def test_the_fine_tuned_model_has_the_record_of_its_training(tuned, attack, defended) -> None:
    written = json.loads(RECIPE.read_text())
    recipe = written | {"attack": attack and ATTACK | attack}
    write_json(RECIPE, recipe)
    record.main()
    files = contents(record_folder("finetuned"))
    assert set(files) == {
        "about.json", "recipe.json", "training.csv", "descriptions.parquet", "provenance.json",
        "classes.parquet",
    }  # fmt: skip
    assert files["provenance.json"] == b"descriptions/provenance.json"
    assert files["descriptions.parquet"] == b"filtered/descriptions.parquet"
    told = read_about(record_folder("finetuned"))
    assert (told.name, told.source, told.defended) == ("finetuned", "finetune", defended)
    assert told.origin == "`base`, fine-tuned by SAFT on image set `tiny`"
    assert told.text_tower == text_tower_hash(clip.load(MODEL))


def test_about_copies_the_record_of_one_model_as_a_whole(tuned: Path, local: Path) -> None:
    record.main()
    model.main("mine")
    (ABOUT / "mine").mkdir(parents=True)
    (ABOUT / "mine/left.json").write_text("of an earlier run")
    for name in ("mine", "finetuned"):
        about.main(name)
        assert contents(ABOUT / name) == contents(record_folder(name))
    assert read_about(ABOUT / "mine").name == "mine"
    assert set(contents(ABOUT / "mine")) == {"about.json"}

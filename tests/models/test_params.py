"""Entries of section models, and about.json."""

import pytest

from pipeline.clip import model as clip
from pipeline.clip.about import DEFENDED, FILE, About, read_about
from pipeline.clip.towers import facts, text_tower_hash
from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.common.tables import write_json
from pipeline.models.params import read_model
from tests.support.project import DEMO

ENTRY = {"source": "local", "options": {}, "defended": True, "licence": None, "citation": None}


def test_the_committed_models_hold():
    models = read_params(DEMO)["models"]
    assert "base" in models
    for name in models:
        assert read_model(name, models).source == models[name]["source"]


@pytest.mark.parametrize("name", ["base", "fare2", "ViT-B_32", "2"])
def test_a_name_is_a_folder_and_a_part_of_a_stages_name(name):
    assert read_model(name, {name: ENTRY}).defended is True


@pytest.mark.parametrize("name", ["a.b", "a/b", "-a", "_x", "a b", "..", "a@b", "é"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UserError, match="cannot be a name"):
        read_model(name, {name: ENTRY})


def test_finetuned_is_reserved_and_a_missing_model_is_named_with_those_there_are():
    with pytest.raises(UserError, match="'finetuned' is what fine-tuning makes"):
        read_model("finetuned", {"finetuned": ENTRY})
    with pytest.raises(UserError, match="params.yaml: models has no 'x', only a, b"):
        read_model("x", {"b": ENTRY, "a": ENTRY})


@pytest.mark.parametrize(
    ("key", "value"),
    [("defended", "true"), ("defended", None), ("options", None), ("source", None), ("extra", 1)],
)
def test_a_bad_key_is_named_with_its_model(key, value):
    with pytest.raises(UserError, match=rf"params.yaml: models.m: .*'{key}'"):
        read_model("m", {"m": ENTRY | {key: value}})


def test_about_json_comes_back_as_it_was(clip_folder, tmp_path):
    loaded = clip.load(clip_folder)
    about = About(
        name="m", source="local", origin="`m`", hub_id=None, defended=DEFENDED["unknown"],
        licence="MIT", citation=None, notes=["a note"], **facts(loaded),
    )  # fmt: skip
    write_json(tmp_path / FILE, about.model_dump())
    assert read_about(tmp_path) == about
    assert about.text_tower == text_tower_hash(loaded)
    assert about.image_size == 16
    assert about.parameters == sum(weight.numel() for weight in loaded.model.parameters())
    assert {DEFENDED[value] for value in (True, False, "unknown")} == {"true", "false", "unknown"}
    write_json(tmp_path / FILE, about.model_dump() | {"defended": "maybe"})
    with pytest.raises(UserError, match=rf"{FILE}: key 'defended'"):
        read_about(tmp_path)
    with pytest.raises(UserError, match=f"absent/{FILE}: not found"):
        read_about(tmp_path / "absent")

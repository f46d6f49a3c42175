"""`saft evaluate`: what is asked for becomes a params.yaml, and that becomes arguments of dvc."""

import copy
import json

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pipeline.clip.about import FILE, About
from pipeline.clip.folders import record_folder
from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.common.tables import write_json
from saft.evaluate import models, sets
from saft.evaluate.overrides import literal, overrides
from saft.evaluate.request import Request, requested, with_protocol
from saft.schema import check_params
from saft.use.profiles import Profile, rendered
from tests.support.project import DEMO, ROOT

BASE = {"base": {"source": "pretrain"}}


@pytest.fixture
def demo():
    return read_params(DEMO)


def applied(before, changes):
    """What DVC makes of `-S` arguments: by the library that it calls."""
    config = OmegaConf.create(before)
    OmegaConf.set_struct(config, True)
    parsed = OverridesParser.create().parse_overrides(changes)
    ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
    return OmegaConf.to_container(config, resolve=False)


@pytest.mark.parametrize(
    "text",
    ["a b", "it's", "c\\d", "x\\'", "e\\\\", "", "null", "1", "{}", "/a b/é,[x]", "a=b", "${x}"],
)
def test_a_string_survives_hydras_grammar(text):
    parsed = OverridesParser.create().parse_override(f"+k={literal(text)}")
    assert parsed.value() == text


def test_a_nested_value_survives_hydras_grammar():
    value = {"a": [1, 2.5, None, True, 1e-05], "b-c": {"d": "x"}, "16shot": {"e": "own"}}
    assert OverridesParser.create().parse_override(f"+k={literal(value)}").value() == value


def test_overrides_turn_one_params_file_into_another(demo):
    after = copy.deepcopy(demo)
    after["evaluate"]["epsilons_255"] = [1, 2.5]
    after["models"]["hf-x"] = {"source": "pretrained", "options": {"model": "hf-hub:a/b"}}
    after["prepare"]["sets"]["16-shot"] = {"source": "imagefolder", "root": "/a b/it's"}
    del after["embed"]["texts"]["unseen"]
    changes = overrides(demo, after)
    assert applied(demo, changes) == after
    assert "evaluate.epsilons_255=[1,2.5]" in changes
    assert "~embed.texts.unseen" in changes
    assert not any(change.startswith(("finetune", "describe")) for change in changes)
    assert overrides(after, after) == []


@pytest.mark.parametrize("name", ["protocol-columbia", "protocol-tuebingen", "laptop-cifar"])
def test_overrides_turn_the_demo_into_a_whole_profile(demo, name):
    file = ROOT / f"profiles/{name}.yaml"
    profile = Profile(file, rendered(file)).values
    assert applied(demo, overrides(demo, profile)) == profile


def test_a_model_is_a_name_a_tag_a_repository_a_folder_or_a_file(tmp_path):
    (tmp_path / "FARE eps2").mkdir()
    checkpoint = tmp_path / "robust.v2.pt"
    checkpoint.touch()
    assert models.parse("base", BASE, None) == ("base", None)
    assert models.parse("finetuned", BASE, None) == ("finetuned", None)
    tagged = models.parse("ViT-B-32-quickgelu/openai", BASE, None)
    assert tagged.name == "ViT-B-32-quickgelu-openai"
    assert tagged.section["options"] == {
        "model": "ViT-B-32-quickgelu", "tag": "openai", "cache_dir": None
    }  # fmt: skip
    hub = models.parse("hf-hub:chs20/fare2-clip", BASE, None)
    assert hub.name == "chs20-fare2-clip"
    assert hub.section["options"]["model"] == "hf-hub:chs20/fare2-clip"
    assert hub.section["options"]["tag"] is None
    folder = models.parse(str(tmp_path / "FARE eps2"), BASE, None)
    assert (folder.name, folder.section["source"]) == ("FARE-eps2", "local")
    file = models.parse(f"mine={checkpoint}", BASE, "ViT-B-32/openai")
    assert (file.name, file.section["source"]) == ("mine", "checkpoint")
    assert file.section["options"]["file"] == str(checkpoint)
    assert file.section["options"]["model"] == "ViT-B-32"
    assert all(m.section["defended"] == "unknown" for m in (tagged, hub, folder, file))


@pytest.mark.parametrize(
    ("text", "clip", "message"),
    [
        ("nowhere", None, "nowhere: no file or folder, no name and tag of open_clip"),
        ("robust.pt", None, "robust.pt: a checkpoint needs the CLIP it was trained from: --clip"),
        ("robust.pt", "ViT-B-32", "ViT-B-32: write open_clip's name and tag"),
        ("base=robust.pt", "a/b", "there is a model 'base' already; write NAME=robust.pt"),
    ],
)
def test_a_model_that_cannot_be_had_is_told_in_one_line(tmp_path, monkeypatch, text, clip, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robust.pt").touch()
    with pytest.raises(UserError, match="^[^\n]+$") as raised:
        models.parse(text, BASE, clip)
    assert message in str(raised.value)


def test_the_size_of_a_folders_images_is_the_models(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    local = models.parse(str(folder), BASE, None)
    assert models.image_size(local) is None
    config = {"vision_config": {"image_size": 336}}
    (folder / "config.json").write_text(json.dumps(config))
    assert models.image_size(local) == 336
    assert models.image_size(models.parse("ViT-B-16-plus-240/laion400m_e31", BASE, None)) == 240
    assert models.image_size(models.parse("hf-hub:a/b", BASE, None)) is None


def test_the_size_of_a_model_of_params_yaml_is_what_its_stage_wrote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = models.parse("base", BASE, None)
    assert models.image_size(base) is None
    about = About(
        name="base", source="pretrain", origin="o", hub_id=None, defended="false", licence=None,
        citation=None, notes=[], parameters=1, image_size=48, image_tower="a", text_tower="b",
    )  # fmt: skip
    write_json(record_folder("base") / FILE, about.model_dump())
    assert models.image_size(base) == 48


def test_a_set_is_a_name_or_a_folder_of_images(tmp_path):
    (tmp_path / "my pictures").mkdir()
    known = {"digits": {"source": "digits"}}
    assert sets.parse("digits", known, 224) == ("digits", None)
    chosen = sets.parse(str(tmp_path / "my pictures"), known, 48)
    assert chosen.name == "my-pictures"
    assert chosen.section["root"] == str(tmp_path / "my pictures")
    assert chosen.section["size"] == 48
    with pytest.raises(UserError, match="'absent' is no folder and none of the sets digits"):
        sets.parse("absent", known, 224)
    (tmp_path / "digits").mkdir()
    with pytest.raises(UserError, match="there is a set 'digits' already"):
        sets.parse(str(tmp_path / "digits"), known, 224)


def test_a_request_is_a_sound_params_file_that_trains_nothing(demo, tmp_path):
    (tmp_path / "flowers" / "rose").mkdir(parents=True)
    ask = Request(
        ["base", "ViT-B-32-quickgelu/openai"], [str(tmp_path / "flowers")], 7, None, None, None
    )
    before = copy.deepcopy(demo)
    values = requested(demo, ask)
    assert demo == before
    assert values["evaluate"]["models"] == ["base", "ViT-B-32-quickgelu-openai"]
    assert values["evaluate"]["datasets"] == ["flowers"]
    assert values["evaluate"]["images"] == 7
    assert values["prepare"]["sets"]["flowers"]["size"] == 224
    assert values["report"]["reference"] == "base"
    assert check_params(values) == []
    assert applied(demo, overrides(demo, values)) == values


def test_two_models_of_one_name_are_refused(demo, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder / "clip").mkdir(parents=True)
    ask = Request(
        [str(tmp_path / "a/clip"), str(tmp_path / "b/clip")], None, None, None, None, None
    )
    with pytest.raises(UserError, match="two models are named 'clip'; write NAME="):
        requested(demo, ask)


def test_a_protocol_says_how_and_leaves_what_is_trained(demo):
    file = ROOT / "profiles/protocol-tuebingen.yaml"
    protocol = Profile(file, rendered(file)).values
    values = with_protocol(demo, protocol)
    assert values["evaluate"] == protocol["evaluate"]
    assert values["embed"] == protocol["embed"]
    assert {**demo["prepare"]["sets"], **protocol["prepare"]["sets"]} == values["prepare"]["sets"]
    for section in ("models", "pretrain", "describe", "filter", "finetune", "data"):
        assert values[section] == demo[section]

"""`saft evaluate`: what is asked for becomes a params.yaml, and that becomes arguments of dvc."""

import copy
import os
import re
import shutil

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from saft.evaluation import command
from saft.evaluation.overrides import literal, overrides
from saft.evaluation.protocol import with_protocol
from saft.evaluation.request import requested
from saft.schema import check_params
from saft.use.profiles import Profile, rendered
from tests.support.evaluate_requests import B16, B32, DIGITS, asked, clip_in, images_in
from tests.support.project import DEMO, ROOT


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


def test_a_request_is_a_sound_params_file_that_trains_nothing(demo, tmp_path):
    ask = asked(B16, B32, sets=[images_in(tmp_path / "flowers")], images=7)
    before = copy.deepcopy(demo)
    values = requested(demo, ask)
    assert demo == before
    assert values["evaluate"]["models"] == [name.replace("/", "-") for name in (B16, B32)]
    [name] = values["evaluate"]["datasets"]
    assert re.fullmatch(f"flowers{DIGITS}", name)
    assert values["evaluate"]["checks"]["datasets"] == [name]
    assert values["evaluate"]["images"] == 7
    assert values["prepare"]["sets"][name]["size"] == 224
    assert values["report"]["reference"] == "ViT-B-16-quickgelu-openai"
    assert check_params(values) == []
    assert applied(demo, overrides(demo, values)) == values
    assert requested(values, ask) == values, "as after dvc exp apply"


def test_two_of_one_name_are_told_apart_or_refused(demo, tmp_path):
    a, b = (clip_in(tmp_path / folder / "clip", 32) for folder in "ab")
    os.utime(tmp_path / "b/clip/config.json", ns=(0, 0))
    names = requested(demo, asked(a, b, a))["evaluate"]["models"]
    assert len(set(names)) == 2 == len(names)
    shutil.rmtree(tmp_path / "b/clip")
    shutil.copytree(tmp_path / "a/clip", tmp_path / "b/clip")
    with pytest.raises(UserError, match=f"two models are named 'clip{DIGITS}'; write NAME="):
        requested(demo, asked(a, b))
    flowers = images_in(tmp_path / "a/flowers")
    shutil.copytree(flowers, tmp_path / "b/flowers")
    both = [flowers, str(tmp_path / "b/flowers")]
    with pytest.raises(UserError, match=f"two image sets are named 'flowers{DIGITS}'; rename"):
        requested(demo, asked("base", sets=both))


def test_the_reference_is_named_as_it_was_typed(demo, tmp_path):
    clip = clip_in(tmp_path / "clip", 32)
    values = requested(demo, asked("base", f"mine={clip}", reference="mine"))
    assert values["report"]["reference"] == values["evaluate"]["models"][1] != "mine"
    assert requested(demo, asked("base", reference=""))["report"]["reference"] == ""


def test_a_clip_around_nothing_is_looked_at_too(demo):
    with pytest.raises(UserError, match="^--clip x: write open_clip's name and tag"):
        requested(demo, asked("base", clip="x"))


@pytest.fixture
def protocol():
    file = ROOT / "profiles/protocol-tuebingen.yaml"
    return Profile(file, rendered(file)).values


def test_a_protocol_says_how_and_leaves_what_is_trained(demo, protocol):
    before = copy.deepcopy((demo, protocol))
    values = with_protocol(demo, protocol, "tue")
    assert values["evaluate"] == protocol["evaluate"]
    ours, theirs = demo["embed"]["texts"], protocol["embed"]["texts"]
    renamed = {f"{name}-tue": theirs[name] for name in ("template", "unseen")}
    assert values["embed"]["texts"] == {**ours, **renamed, "own": theirs["own"]}
    assert {**demo["prepare"]["sets"], **protocol["prepare"]["sets"]} == values["prepare"]["sets"]
    for section in ("models", "pretrain", "describe", "filter", "finetune", "data"):
        assert values[section] == demo[section]
    assert (demo, protocol) == before


def test_what_a_protocol_defines_differently_stands_beside_it(demo, protocol):
    ours = {"source": "cifar10", "size": 32}
    demo["prepare"]["sets"] |= {"cifar10": ours, "stl10": {"source": "stl10", "size": 96}}
    protocol["embed"]["texts"]["template"]["cifar10"] = ["a low-resolution photo of a {}"]
    protocol["evaluate"] |= {"texts": ["template"], "attacker": "unseen"}
    values = with_protocol(demo, protocol, "tue")
    assert values["prepare"]["sets"]["cifar10"] == ours
    assert values["prepare"]["sets"]["cifar10-tue"] == {"source": "cifar10", "size": 224}
    evaluate = values["evaluate"]
    assert evaluate["datasets"][:3] == ["cifar10-tue", "stl10-tue", "cifar100"]
    assert evaluate["checks"]["datasets"] == ["stl10-tue"]
    assert (evaluate["texts"], evaluate["attacker"]) == (["template-tue"], "unseen-tue")
    assert values["embed"]["texts"]["template"] == demo["embed"]["texts"]["template"]
    assert "cifar10-tue" in values["embed"]["texts"]["template-tue"]
    assert check_params(requested(values, asked(B32))) == []
    assert with_protocol(values, protocol, "tue")["prepare"] == values["prepare"]
    values["prepare"]["sets"]["cifar10-tue"] = ours
    with pytest.raises(UserError, match="prepare.sets.cifar10-tue is not what the profile tue has"):
        with_protocol(values, protocol, "tue")


def test_an_unsound_params_file_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("evaluate: 3\n")
    with pytest.raises(SystemExit) as stopped:
        command.main(["base"], protocol="protocol-tuebingen")
    assert stopped.value.code == 1
    assert re.fullmatch("error: saft evaluate: params.yaml: [^\n]+\n", capsys.readouterr().err)

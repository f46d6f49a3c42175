"""`saft evaluate`: what is asked for becomes a params.yaml, and that becomes arguments of dvc."""

import copy
import json
import os
import re
import shutil

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pipeline.clip.about import FILE, About
from pipeline.clip.folders import record_folder
from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.common.tables import write_json
from pipeline.results.evaluated import read_evaluated
from saft.dvc_experiments import fetch
from saft.evaluate import command, models, paths, sets, sizes, table
from saft.evaluate.overrides import literal, overrides
from saft.evaluate.protocol import with_protocol
from saft.evaluate.request import Request, requested
from saft.schema import check_params
from saft.use.profiles import Profile, rendered
from tests.support.clip_layouts import transformers_config
from tests.support.project import DEMO, ROOT
from tests.support.report_inputs import ATTACKS, EPSILON, make_tree, write_set

BASE = {"base": {"source": "pretrain"}}
B32, B16 = "ViT-B-32-quickgelu/openai", "ViT-B-16-quickgelu/openai"
DIGITS = "-[0-9a-f]{8}"


def asked(*words, **arguments):
    return Request(words, **dict.fromkeys(Request._fields[1:]) | arguments)


def clip_in(folder, size=16):
    """A folder with the config of transformers, and a file where weights are."""
    folder.mkdir(parents=True)
    config = transformers_config("gelu")
    config["vision_config"]["image_size"] = size
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"weights")
    return str(folder)


def images_in(folder, *classes):
    """A folder of class folders, one file each; nothing decodes them."""
    for name in classes or ("rose", "tulip"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(b"pixels")
    return str(folder)


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
    clip_in(tmp_path / "FARE eps2")
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
    assert re.fullmatch(f"FARE-eps2{DIGITS}", folder.name)
    assert folder.section["source"] == "local"
    file = models.parse(f"mine={checkpoint}", BASE, "ViT-B-32/openai")
    assert re.fullmatch(f"mine{DIGITS}", file.name)
    assert file.section["source"] == "checkpoint"
    assert file.section["options"]["file"] == str(checkpoint)
    assert file.section["options"]["model"] == "ViT-B-32"
    assert all(m.section["defended"] == "unknown" for m in (hub, folder, file))
    assert tagged.section["defended"] is False, "what open_clip publishes is a control"


@pytest.mark.parametrize(
    ("text", "clip", "message"),
    [
        ("nowhere", None, "nowhere: no file or folder, no name and tag of open_clip"),
        ("robust.pt", None, "robust.pt: a checkpoint needs the CLIP it was trained from: --clip"),
        ("robust.pt", "ViT-B-32", "ViT-B-32: write open_clip's name and tag"),
        ("base=robust.pt", "a/b", "there is a model 'base' already; write NAME=robust.pt"),
        ("finetuned=a/b", None, "there is a model 'finetuned' already"),
        ("x=base", None, "x=base: 'base' is a name already, of section models; write base"),
        ("x=finetuned", None, "'finetuned' is a name already"),
        ("", None, "an empty MODEL"),
        (" ", None, "an empty MODEL"),
        ("x=", None, "an empty MODEL"),
        ("=robust.pt", None, "'' cannot be a NAME"),
        ("16=ViT-B-32/openai", None, "'16' cannot be a NAME, which begins with a letter"),
        ("robust.pt", "/openai", "--clip /openai: write open_clip's name and tag"),
        ("robust.pt", "ViT-B-32/", "--clip ViT-B-32/: write open_clip's name and tag"),
        ("robust.pt", "hf-hub:", "--clip hf-hub:: write"),
        ("hf-hub:a", None, "MODEL hf-hub:a: write"),
        ("${x}.pt", "a/b", "a path with ${ or an unprintable character"),
        ("empty", None, "open_clip_config.json: not found"),
        ("weightless", None, "weightless: holds no weights: none of model.safetensors"),
    ],
)
def test_a_model_that_cannot_be_had_is_told_in_one_line(tmp_path, monkeypatch, text, clip, message):
    monkeypatch.chdir(tmp_path)
    for name in ("robust.pt", "${x}.pt"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    clip_in(tmp_path / "weightless")
    (tmp_path / "weightless/model.safetensors").unlink()
    with pytest.raises(UserError, match="^[^\n]+$") as raised:
        models.parse(text, BASE, clip)
    assert message in str(raised.value)


def test_a_path_with_a_sign_in_it_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eps=2.pt").touch()
    for text, name in (("eps=2.pt", "eps-2"), ("mine=eps=2.pt", "mine")):
        model = models.parse(text, BASE, B32)
        assert re.fullmatch(name + DIGITS, model.name)
        assert model.section["options"]["file"] == str(tmp_path / "eps=2.pt")


def test_other_content_is_another_name(tmp_path):
    folder = tmp_path / "2024"
    images_in(folder)
    name = sets.parse(str(folder), {}, 224).name
    assert re.fullmatch(f"images-2024{DIGITS}", name), "a name is no number"
    assert sets.parse(str(folder), {}, 224).name == name
    file = folder / "rose/1.png"
    about = file.stat()
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    touched = sets.parse(str(folder), {}, 224).name
    file.rename(folder / "rose/2.png")
    assert len({name, touched, sets.parse(str(folder), {}, 224).name}) == 3
    (folder / "rose/broken.png").symlink_to("nowhere")
    weights = tmp_path / "1e5.pt"
    weights.write_bytes(b"a")
    first = models.parse(str(weights), BASE, B32).name
    weights.write_bytes(b"ab")
    assert first.startswith("model-1e5-")
    assert models.parse(str(weights), BASE, B32).name != first
    clip = clip_in(tmp_path / "clip")
    first = models.parse(clip, BASE, None).name
    (tmp_path / "clip/model.safetensors").write_bytes(b"other weights")
    assert models.parse(clip, BASE, None).name != first
    assert paths.without_fingerprint(first) == "clip"


def test_the_size_of_a_models_images_is_told_by_its_source(demo, tmp_path):
    demo["models"] |= {
        "local": {"source": "local", "options": {"path": clip_in(tmp_path / "clip", 336)}},
        "tagged": models.parse("ViT-B-16-plus-240/laion400m_e31", {}, None).section,
        "hub": models.parse("hf-hub:a/b", {}, None).section,
        "around": {
            "source": "checkpoint",
            "options": {"file": "x", "model": f"local-dir:{tmp_path / 'clip'}", "tag": None},
        },
    }
    expected = {
        "base": 32,
        "finetuned": 32,
        "local": 336,
        "tagged": 240,
        "hub": None,
        "around": 336,
    }
    assert {name: sizes.model_size(name, demo) for name in expected} == expected
    (tmp_path / "weights.pt").touch()
    checkpoint = models.parse(str(tmp_path / "weights.pt"), {}, "ViT-L-14-336/openai")
    demo["models"][checkpoint.name] = checkpoint.section
    assert sizes.model_size(checkpoint.name, demo) == 336


def test_the_size_of_a_model_of_the_hub_is_what_its_stage_wrote(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo["models"]["hub"] = models.parse("hf-hub:a/b", {}, None).section
    about = About(
        name="hub", source="pretrained", origin="o", hub_id=None, defended="false", licence=None,
        citation=None, notes=[], parameters=1, image_size=48, image_tower="a", text_tower="b",
    )  # fmt: skip
    write_json(record_folder("hub") / FILE, about.model_dump())
    assert sizes.model_size("hub", demo) == 48


@pytest.mark.parametrize(
    ("words", "arguments", "message"),
    [
        (["base", B32], {}, f"model 'base' is for 32 pixels, model '{B32.replace('/', '-')}' for"),
        (
            [B32],
            {},
            "224 pixels, image set 'shapes-held-out' for 32: evaluate them in two",
        ),
        ([B32], {"sets": ["digits"]}, "224 pixels, image set 'digits' for 32"),
        ([B32], {"sets": ["{folder}"], "size": 64}, "224 pixels, image set 'flowers-"),
    ],
)
def test_sizes_that_differ_are_refused(demo, tmp_path, words, arguments, message):
    folder = images_in(tmp_path / "flowers")
    if "sets" in arguments:
        arguments = arguments | {"sets": [s.format(folder=folder) for s in arguments["sets"]]}
    with pytest.raises(UserError, match="^[^\n]+evaluate.space: native$") as raised:
        requested(demo, asked(*words, **arguments))
    assert message in str(raised.value)
    demo["evaluate"]["space"] = "native"
    assert requested(demo, asked(*words, **arguments))["evaluate"]["models"]


def test_a_set_is_a_name_or_a_folder_of_images(tmp_path):
    folder = images_in(tmp_path / "my pictures")
    known = {"digits": {"source": "digits"}}
    assert sets.parse("digits", known, 224) == ("digits", None)
    chosen = sets.parse(folder, known, 48)
    assert re.fullmatch(f"my-pictures{DIGITS}", chosen.name)
    assert chosen.section["root"] == folder
    assert chosen.section["size"] == 48
    assert sets.parse(images_in(tmp_path / "digits"), known, 224).name not in known


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "'absent' is no folder and none of the sets digits"),
        ("", "--sets: an empty word"),
        (" ", "--sets: an empty word"),
        ("file", "'file' is no folder"),
        ("one", "one: holds 1 class folders"),
        ("bare", "class 'a' has no image"),
        ("x${y}", "a path with ${ or an unprintable character"),
    ],
)
def test_a_set_that_cannot_be_had_is_told_in_one_line(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    images_in(tmp_path / "one", "rose")
    images_in(tmp_path / "x${y}")
    for empty in ("bare/a", "bare/b"):
        (tmp_path / empty).mkdir(parents=True)
    with pytest.raises(UserError, match="^[^\n]+$") as raised:
        sets.parse(name, {"digits": {"source": "digits"}}, 224)
    assert message in str(raised.value)


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


def test_the_table_tells_of_every_set_how_many_images_it_has(tmp_path, monkeypatch):
    make_tree(tmp_path)
    strengths = {"base": 0.02, "finetuned": 0.7}
    write_set(tmp_path, "shapes", 300, strengths, 1)
    write_set(tmp_path, "digits", 120, strengths, 2)
    monkeypatch.chdir(tmp_path)
    setting = ("template", list(ATTACKS), EPSILON, list(strengths))
    both = [read_evaluated(name, *setting) for name in ("shapes", "digits")]
    lines = table.markdown(both, "base").splitlines()
    assert "| `shapes` (300 images, 16² pixels) | 4/255 | base |" in lines[2]
    assert "| `digits` (120 images, 16² pixels) | 4/255 | base |" in lines[4]
    assert not re.search("300|120", table.caption(both))


def test_checks_are_told_and_that_there_is_no_control(demo):
    demo["evaluate"]["models"] = ["base", "finetuned"]
    line = "Checks of the attack: 22 passed, 0 failed.\n"
    assert table.checks_lines({"passed": 22, "failed": 0}, demo) == line
    demo["models"]["base"]["defended"] = "unknown"
    failed, control = table.checks_lines({"passed": 1, "failed": 2}, demo).splitlines()
    assert failed == "Checks of the attack: 1 passed, 2 failed (the report names them)."
    assert control.startswith("no undefended control: ")


def test_what_to_do_is_said_by_the_command_that_reads(tmp_path):
    with pytest.raises(UserError, match=r"^experiment nothing-such cannot be read \([^\n]+\)$"):
        fetch("nothing-such", ["params.yaml"], tmp_path)
    with pytest.raises(UserError, match=r"\); run it again$"):
        fetch("nothing-such", ["params.yaml"], tmp_path, "run it again")

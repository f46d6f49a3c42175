"""Params: typed, strict, YAML 1.2, one-line errors."""

import re
from pathlib import Path

import pytest

from pipeline.common import options, registry
from pipeline.common.errors import UserError
from pipeline.common.params import read_params, read_section, read_value
from pipeline.datasets import imagefolder
from pipeline.embeddings.templates import EmbedParams
from pipeline.training.recipe import FinetuneParams
from saft.schema import CHOICES, check_params
from saft.use.profiles import rendered
from tests.support.project import DEMO, ROOT

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


def written(tmp_path: Path, old: str, new: str) -> Path:
    text = DEMO.read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    return tmp_path / "params.yaml"


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    """Prompt sets and exemplars are named relative to the project."""
    monkeypatch.chdir(ROOT)


def check_all(file: Path) -> None:
    """No problem of any kind, and an entry for every plug-in there is."""
    values = read_params(file)
    assert check_params(values, file) == []
    for section, (package, _) in CHOICES.items():
        assert sorted(values[section]["options"]) == registry.names(package)


@pytest.mark.reads_checkout
def test_the_params_file_as_it_is_now_is_valid():
    """The demo, a profile, or the user's own."""
    assert check_params(read_params(ROOT / "params.yaml")) == []


def keys_without_comment(file: Path) -> list[str]:
    """Paths of the keys that have no comment line directly above; keys of the image sets, of
    attacks, methods, models and pretrainings are explained once, text sets by the line above them
    all."""
    bare, path, explained = [], [], set()
    lines = file.read_text().splitlines()
    for previous, line in zip(["", *lines], lines, strict=False):
        key_line = re.match(r"( *)([\w-]+):", line)
        if not key_line:
            continue
        depth = len(key_line[1]) // 2
        path = [*path[:depth], key_line[2]]
        commented = previous.strip().startswith("#")
        named = path[0] in ("models", "pretrain")  # entries by name, their keys explained once
        shared = (path[0] == "prepare" and depth == 3) or (path[1:2] == ["options"] and depth == 3)
        shared |= named and depth == 2
        identity = (path[0], key_line[2]) if shared else tuple(path)
        free = key_line[2] in ("options", "source") or path[:2] == ["embed", "texts"]
        free |= (named and depth == 1) or (named and path[2:3] == ["options"])
        if commented:
            explained.add(identity)
        elif not free and identity not in explained:
            bare.append(".".join(path))
    return bare


def test_every_key_has_a_comment_above_it(tmp_path):
    assert keys_without_comment(DEMO) == []
    text = DEMO.read_text()
    (tmp_path / "p.yaml").write_text(text.replace("  # seed of the random starts\n", ""))
    assert keys_without_comment(tmp_path / "p.yaml") == ["evaluate.seed"]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda file: file.stem)
def test_every_profile_is_valid_and_explains_its_keys(tmp_path, profile):
    file = tmp_path / profile.name
    file.write_bytes(rendered(profile))
    check_all(file)
    bare = keys_without_comment(file)
    assert [key for key in bare if not key.startswith("prepare.sets.")] == []


def test_exponents_are_floats_as_dvc_writes_them(tmp_path):
    file = written(tmp_path, "  weight_decay: null", "  weight_decay: 1e-05")
    assert read_section("finetune", FinetuneParams, file).weight_decay == 1e-5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  momentum: null", "  momentum: null\n  nesterov: true", "unknown key 'nesterov'"),
        ("  momentum: null", "", "missing key 'momentum'"),
        ("  momentum: null", "  momentum: '0.9'", "key 'momentum'.*valid number.*'0.9'"),
        ("  momentum: null", "  momentum: 1.5", "key 'momentum'.*less than 1.*1.5"),
        ("  epochs: ", "  epochs: true #", "key 'epochs'.*valid integer.*True"),
        ("    epsilon_255: 4", "    epsilon_255: 0", "key 'attack.epsilon_255'.*greater than 0"),
        ("    steps: 2\n", "    steps: 0\n", "key 'attack.steps'.*greater than or equal to 1"),
        ("  weight_decay: null", "  weight_decay: .inf", "key 'weight_decay'.*finite.*inf"),
        ("  weight_decay: null", "  weight_decay: .nan", "key 'weight_decay'.*nan"),
    ],
    ids=["unknown", "missing", "type", "range", "bool", "epsilon", "steps", "infinite", "nan"],
)
def test_a_bad_key_is_one_line_with_file_section_and_key(tmp_path, old, new, message):
    file = written(tmp_path, old, new)
    with pytest.raises(UserError, match=message) as caught:
        read_section("finetune", FinetuneParams, file)
    assert str(caught.value).startswith(f"{file}: finetune: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", "not valid YAML"), ("- 1", "expected sections"), ("", "expected sections")],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_missing_file_section_and_bad_value(tmp_path):
    with pytest.raises(UserError, match="not found"):
        read_params(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="'finetune.absent' is missing"):
        read_value("finetune.absent", int, DEMO)
    with pytest.raises(UserError, match="evaluate.datasets: expected"):
        read_value("evaluate.datasets", int, DEMO)
    assert read_value("finetune.attack.steps", int, DEMO) == 2


FOLDER_SET = (
    "s: {source: imagefolder, root: r, names: null, classes: null, images_per_class: null, "
    "skip: 0, size: 224, resize: crop}\n"
)


def refused_set(tmp_path: Path, old: str, new: str) -> str:
    """The error of an image folder's section with one value exchanged."""
    assert old in FOLDER_SET
    file = tmp_path / "params.yaml"
    file.write_text(FOLDER_SET.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read_section("s", imagefolder.Params, file)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{file}: s: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("classes: null", "classes: [0, 10]",
         "key 'classes': YAML reads 0, 10 as numbers; write each in quotes, as it is meant: '0'"),
        ("classes: null", "classes: [n01, 1e5]", "'classes': YAML reads 100000.0 as a number; wr"),
        ("classes: null", "classes: [010]", "YAML reads 10 as a number; write it in quotes, as it"),
        ("classes: null", "classes: [true, 0]", "YAML reads true, 0 as true or false and numbers;"),
        ("classes: null", "classes: [null]", "YAML reads null as nothing; write it in quotes"),
        ("classes: null", "classes: [2024-01-01]", "YAML reads 2024-01-01 as a date; write it in"),
        ("classes: null", "classes: 7", "key 'classes': YAML reads 7 as a number; write it in"),
        ("classes: null", "classes: [0, 1, 2, 3, 4, 5]", "reads 0, 1, 2, 3 and 2 more as numbers"),
        ("root: r", "root: 2024", "key 'root': YAML reads 2024 as a number; write it in quotes"),
        ("root: r", "root: 2024-10-21", "key 'root': YAML reads 2024-10-21 as a date"),
        ("root: r", "root: false", "key 'root': YAML reads false as true or false; write it in"),
        ("classes: null", "classes: {a: 1}",
         "key 'classes': Input should be a valid list or a valid string (found {'a': 1})"),
        ("size: 224", "size: '224'", "key 'size': Input should be a valid integer (found '224')"),
        ("images_per_class: null", "images_per_class: None",
         "valid integer (found 'None'); where there is no number, write null"),
        ("skip: 0", "skip: 0, stream: yes", "a valid boolean (found 'yes'); write true or false"),
        ("skip: 0", "skip: 0, strem: true", "unknown key 'strem'"),
        ("root: r", "root: 2024-02-30", "a value cannot be read: day is out of range for month"),
    ],
)  # fmt: skip
def test_what_yaml_reads_otherwise_than_it_looks_is_one_error(tmp_path, old, new, message):
    text = refused_set(tmp_path, old, new)
    assert message in text
    assert text.count("key '") + text.count("not valid YAML") == 1


def test_words_of_other_yamls_are_words(tmp_path):
    """yes, no and on are words of YAML 1.2, which DVC writes; so is a slice such as 0:10."""
    file = tmp_path / "params.yaml"
    for value, meant in (("[on, no, yes, n, y]", ["on", "no", "yes", "n", "y"]), ("0:10", "0:10")):
        file.write_text(FOLDER_SET.replace("classes: null", f"classes: {value}"))
        assert read_section("s", imagefolder.Params, file).classes == meant


def test_names_that_are_numbers_are_to_be_quoted(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("embed: {texts: {2024: {default: own}, t: {0: own}}}\n")
    with pytest.raises(UserError) as caught:
        read_section("embed", EmbedParams, file)
    assert str(caught.value) == (
        f"{file}: embed: key 'texts': YAML reads 2024 as a number; write it in quotes, as it is "
        f"meant: '2024'; {file}: embed: key 'texts.t': YAML reads 0 as a number; write it in "
        "quotes, as it is meant: '0'"
    )
    file.write_text("evaluate: {datasets: [cifar, 10]}\n")
    with pytest.raises(UserError, match="evaluate.datasets: YAML reads 10 as a number; write it i"):
        read_value("evaluate.datasets", list[str], file)


def test_one_template_needs_a_list_and_says_so(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text('embed: {texts: {t: {default: "a photo of a {}"}}}\n')
    with pytest.raises(UserError) as caught:
        read_section("embed", EmbedParams, file)
    assert str(caught.value).count("key '") == 1
    assert "key 'texts.t.default': Input should be a valid list or 'openai' or 'own'" in str(
        caught.value
    )
    file.write_text('embed: {texts: {t: {default: ["a photo"]}}}\n')
    with pytest.raises(
        UserError, match=r"key 'texts.t.default.0': .*needs exactly one \{\} .found"
    ):
        read_section("embed", EmbedParams, file)


def test_an_unknown_plugin_names_those_there_are():
    with pytest.raises(UserError, match="finetune.method: 'magic' is not one of .*saft"):
        registry.load("pipeline.methods", "magic", "params.yaml: finetune.method")
    with pytest.raises(UserError, match="options has no 'saft'"):
        options.load_plugin("pipeline.methods", "finetune", "method", "saft", {})

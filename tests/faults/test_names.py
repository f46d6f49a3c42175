"""Names that lead out of their folder, end a command or are too long: refused, nothing lost."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.common import names
from pipeline.common.errors import UserError
from saft.evaluation import models, paths
from saft.schema import check_params
from tests.support.dvc_stages import STAGES, STAGES_FILE
from tests.support.failures import fails, one_line
from tests.support.project import DEMO, make, run, stages_run
from tests.support.tiny_project import write_params

BAD = [
    "..", ".", "", "../../docs", "../inputs", "../../pipeline", "/tmp/x", "a/b", "a\\b", ".hidden",
    "a.b", "-x", "--help", "_x", "a b", " a", "a\n", "a;touch pwned", "$(touch pwned)", "`id`",
    "a&b", "a|b", "a>b", "*", "~", "${item.model}",
    "a\x00b", "a\x1b[2J", "é", "日本", "\u202eabc", "a'b",
    'a"b', "a" * 101, "a" * 300, "é" * 300,
]  # fmt: skip
GOOD = ["a", "A", "0", "digits", "shapes-held-out", "a_b", "null", "1e5", "a" * 100]
SET = {"source": "shapes", "split": "seen", "letters": False, "images_per_class": 1, "seed": 9}
FILLED = {"default": ["a {}"]}
# axis -> (key of params.yaml, what stands there under a name, or None where the name itself does,
# the stage that DVC makes of it)
AXES: dict[str, tuple[str, Any, str]] = {
    "set": ("prepare.sets", SET, "prepare@{}"),
    "pretraining": ("pretrain", "small", "pretrain@{}"),
    "model": ("models", "base", "model@{}"),
    "text set": ("embed.texts", FILLED, "texts@{}"),
    "exemplars": ("exemplars", {"images_per_class": 1, "candidates_per_class": None},
                  "exemplars@{}"),
    "confusions": ("confusions.text", {"classes_per_class": 1, "template": "a {}"},
                   "confusions@{}"),
    "image confusions": ("confusions.images",
                         {"classes_per_class": 1, "template": "a {}", "images_per_class": 1},
                         "image_confusions@{}"),
    "evaluated set": ("evaluate.datasets", None, "classes@{}"),
    "checked set": ("evaluate.checks.datasets", None, "checked_classes@{}"),
    "evaluated model": ("evaluate.models", None, "about@{}"),
    "evaluated texts": ("evaluate.texts", None, "embed@base-{}"),
    "attack": ("evaluate.attacks", None, "evaluate@digits-{}-template-4-base"),
    "epsilon": ("evaluate.epsilons_255", None, "evaluate@digits-pgd-template-{}-base"),
}  # fmt: skip
MATRICES = {"classes", "checked_classes", "about", "embed", "evaluate", "check"}
DVC_NAMES = ["../../docs", "..", "x;touch pwned", "a/../../../docs", "../prompts", "a" * 300]
FEW = DVC_NAMES[:1] + DVC_NAMES[2:3]  # for the axes after the first: one rule serves them all


def test_the_rule_itself():
    assert [name for name in BAD if not names.fault(name)] == []
    assert [names.fault(name) for name in GOOD] == [""] * len(GOOD)
    assert all(names.fault(value) for value in (1, 1.5, None, True))
    # with what is added to it, a name fits a file system
    assert len(f".{'a' * names.LONGEST}.parquet.partial-4194304") < 255
    assert all("\n" not in names.fault(name) and "\x1b" not in names.fault(name) for name in BAD)
    assert all(len(names.fault(name)) < 200 for name in BAD)


def _calls() -> list[tuple[str, str]]:
    """Every stage with each of its arguments that is a name."""
    calls = []
    for stage in STAGES:
        main = importlib.import_module(f"stages.{stage}").main
        for argument, kind in inspect.signature(main).parameters.items():
            if argument != "epsilon" and kind.default is inspect.Parameter.empty:
                calls.append((stage, argument))
    return calls


def test_every_stage_refuses_every_such_name_by_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    before, tried = sorted(tmp_path.rglob("*")), 0
    for stage, argument in _calls():
        main = importlib.import_module(f"stages.{stage}").main
        plain = {
            key: "4" if key == "epsilon" else "tiny"
            for key, kind in inspect.signature(main).parameters.items()
            if kind.default is inspect.Parameter.empty
        }
        for name in BAD:
            with pytest.raises(SystemExit) as caught:
                main(**plain | {argument: name})
            assert caught.value.code == 1
            assert "a name" in one_line(capsys), (stage, argument, name)
            tried += 1
    assert sorted(tmp_path.rglob("*")) == before
    print(f"{tried} names given to {len(_calls())} arguments of {len(STAGES)} stages: all refused")


def _with(axis: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
    key, entry, _ = AXES[axis]
    *parents, last = key.split(".")
    section = values
    for part in parents:
        section = section[part]
    if entry is None:
        section[last] = [name]
    else:
        section[last][name] = section[last][entry] if isinstance(entry, str) else entry
    return values


def _demo() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(DEMO.read_text())


def _params_refused(axis: str, tried: list[str], capsys) -> None:
    """By the stage `names` and by `saft check`, and nothing is written."""
    main = importlib.import_module("stages.names").main
    for name in tried:
        values = _with(axis, name, _demo())
        YAML(typ="safe", pure=True).dump(values, Path("params.yaml"))
        assert fails(main) == 1
        assert one_line(capsys)
        assert not Path("data").exists()
        assert check_params(values), (axis, name)


@pytest.mark.parametrize("axis", AXES)
def test_a_name_in_params_yaml_is_refused(axis, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _params_refused(axis, ["../../docs"], capsys)


@pytest.mark.campaign
@pytest.mark.parametrize("axis", AXES)
def test_every_name_in_params_yaml_is_refused(axis, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    writable = [name for name in BAD if name.isprintable() or name == "a\n"]  # in YAML
    _params_refused(axis, writable, capsys)
    print(f"{len(writable)} names as {axis} in params.yaml: refused by stage and check")


def test_saft_evaluate_refuses_it_or_makes_a_name_of_it():
    for name in BAD:
        assert not names.fault(paths.with_fingerprint(paths.plain_name(name, "images"), DEMO))
        try:
            named = models.parse(f"{name}=ViT-B-32/openai", {}, None)
        except UserError:
            continue
        assert not names.fault(named.name)


def _tree(folder: Path) -> dict[str, bytes]:
    """Every file but those of git and dvc, of caches and of compiled code."""
    hidden = {".git", ".dvc", "__pycache__", ".gitignore"}
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not hidden & set(file.relative_to(folder).parts)
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("names"))


def _dvc_refuses(project: Path, axis: str, name: str) -> None:
    """`dvc repro` of the stage itself and of everything, which both stop before any removal."""
    yaml, file = YAML(), project / "params.yaml"
    original = file.read_bytes()
    with file.open("w") as stream:
        yaml.dump(_with(axis, name, YAML(typ="safe", pure=True).load(original.decode())), stream)
    before = _tree(project)
    stage = AXES[axis][2].format(name)
    prefix = "" if stage.split("@")[0] in ("about", "embed", "evaluate") else f"{STAGES_FILE}:"
    for target in ([f"{prefix}{stage}"], []):
        output = run(project, "dvc", "repro", *target, status=255)
        assert stages_run(output) <= {"names"}, output
        assert "Traceback" not in output
        assert _tree(project) == before, output
    file.write_bytes(original)


def test_dvc_loses_nothing_to_such_a_name(project):
    _dvc_refuses(project, "set", "../../docs")


@pytest.mark.campaign
@pytest.mark.parametrize("axis", AXES)
def test_dvc_loses_nothing_to_any_name_of_any_axis(project, axis):
    tried = DVC_NAMES if axis == "set" else FEW
    for name in tried:
        _dvc_refuses(project, axis, name)
    print(f"{len(tried)} names as {axis}: nothing removed, nothing run")

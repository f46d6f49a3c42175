"""Every file compiles, every plug-in loads, and the README's commands run as they stand."""

import shlex
import subprocess
from functools import reduce
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.common import registry
from pipeline.common.params import read_params
from saft.app import app
from saft.schema import check_params
from tests.support.check_project import entered
from tests.support.pages import named
from tests.support.project import ROOT, make
from tests.support.tiny_models import write_image, write_models

PACKAGES = ("attacks", "backends", "datasets", "methods", "model_sources")
README = [ROOT / "README.md"]


def test_every_file_compiles() -> None:
    listed = ["git", "ls-files", "-co", "--exclude-standard", "*.py"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in names.stdout.splitlines() if (ROOT / name).is_file()]
    assert len(files) > 300
    for file in files:
        compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_plugin_loads(package: str) -> None:
    """Each also runs: test_every_plugin_runs.py (attacks), test_finetune_stage.py (methods),
    tests/datasets (sources), tests/backends, test_model_stages.py and test_checkpoint.py."""
    for name in registry.names(f"pipeline.{package}"):
        assert registry.load(f"pipeline.{package}", name, "test").Params


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of this project; ~/pictures, robust.pt, cat.jpg and the demo's two models, which the
    README takes for there."""
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "pictures" / name / "0.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    (checkout / "robust.pt").write_bytes(b"weights")
    for _ in entered(checkout, monkeypatch):
        write_models()
        write_image("cat.jpg")
        yield checkout


def saft(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(Path(word).expanduser()) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_readmes_saft_commands_run(project: Path) -> None:
    """`saft evaluate` and `saft use` with --dry: the experiment itself is that of tests/stages;
    `saft check` is run by tests/saft/test_check.py."""
    commands = [command.words[1:] for command in named("saft", pages=README)]
    assert {words[0] for words in commands} == {
        "attack", "check", "evaluate", "export", "info", "predict", "profiles", "use",
    }  # fmt: skip
    assert sum(words[0] == "evaluate" for words in commands) == 3
    for words in commands:
        if words == ["check"]:
            continue
        dry = ["--dry"] if words[0] in ("evaluate", "use") else []
        status, output = saft(*words, *dry)
        assert status == 0, (words, output)
        assert output


def test_the_readmes_experiments_are_sound(project: Path) -> None:
    """`dvc exp run -S` of a parameter and of a method are run by tests/stages."""
    experiments = named("dvc", "exp", "run", pages=README)
    assert len(experiments) == 3
    for command in experiments:
        values = read_params()
        key, _, value = command.words[-1].partition("=")
        *path, last = key.split(".")
        section = reduce(lambda inner, name: inner[name], path, values)
        section[last] = YAML(typ="safe").load(value)
        assert check_params(values) == [], command.words


def test_the_readmes_make_targets_exist(project: Path) -> None:
    for command in named("make", pages=README):
        done = subprocess.run(["make", "-n", *command.words[1:]], cwd=project, capture_output=True)
        assert done.returncode == 0, shlex.join(command.words)

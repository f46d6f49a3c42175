"""The README's result table is the one that the committed run produced; a run in this checkout
overwrites reports/metrics.json with numbers of its own, which the README need not equal."""

import json
import re
import subprocess

import pytest
from ruamel.yaml import YAML

from pipeline.common import registry
from tests.repository.test_dvc_yaml import STAGES
from tests.support import checkout
from tests.support.project import DEMO, ROOT

README = (ROOT / "README.md").read_text()


def committed(file: str) -> bytes:
    """What git's HEAD holds under `file`, whatever has been done to the working tree."""
    try:
        done = subprocess.run(["git", "show", f"HEAD:./{file}"], cwd=ROOT, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the git command")
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        pytest.skip(f"needs {file} as committed; {reason}")
    return done.stdout


def test_the_result_table_equals_the_committed_metrics():
    if committed("params.yaml") != committed("profiles/demo.yaml"):
        pytest.skip("the committed params.yaml, and so the committed results, are not the demo's")
    metrics = json.loads(committed("reports/metrics.json"))["datasets"]
    assert metrics
    for name, found in metrics.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
        shown = [float(number) for number in re.findall(r"\| \**(\d+\.\d) \(", row)]
        keys = ("clean", "pgd", "robust")
        expected = [found[m][k] for m in ("base", "finetuned") for k in keys]
        assert shown == [round(100 * value, 1) for value in expected], name


def test_the_stage_table_names_every_stage():
    for name in STAGES:
        assert re.search(rf"^\| `{name}(@<set>[-a-z<>]*)?` \|", README, re.MULTILINE), name


def test_local_links_lead_somewhere():
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_every_parameter_in_a_command_exists():
    named = re.findall(r"-S '?([a-z_.]+[a-z_])=", README)
    assert len(named) > 8
    for key in named:
        value = YAML(typ="safe", pure=True).load(DEMO.read_text())
        for part in key.split("."):
            assert part in value, key
            value = value[part]


def test_every_data_set_prompt_set_backend_method_and_attack_is_explained():
    sets = [file.stem for file in (ROOT / "data/prompts").glob("*.yaml")]
    packages = tuple(f"pipeline.{n}" for n in ("datasets", "descriptions", "methods", "attacks"))
    for name in [*sets, *(name for package in packages for name in registry.names(package))]:
        assert f"`{name}`" in README, name


@pytest.mark.reads_checkout
def test_a_test_that_opens_a_users_file_is_noticed(monkeypatch):
    """The fixture of conftest that forbids it sees absolute and relative names."""
    monkeypatch.chdir(ROOT)
    (ROOT / "params.yaml").read_bytes()
    with open("dvc.lock", "rb"):
        pass
    (ROOT / "pyproject.toml").read_bytes()
    assert checkout.opened == [str(ROOT / "params.yaml"), str(ROOT / "dvc.lock")]

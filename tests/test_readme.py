"""The README's result table is the one that the committed run produced."""

import json
import re
from pathlib import Path

from ruamel.yaml import YAML

from pipeline import registry
from tests.test_dvc_yaml import STAGES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_result_table_equals_the_committed_metrics():
    metrics = json.loads((ROOT / "reports/metrics.json").read_text())["datasets"]
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
        value = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
        for part in key.split("."):
            assert part in value, key
            value = value[part]


def test_every_data_set_prompt_set_backend_method_and_attack_is_explained():
    sets = [file.stem for file in (ROOT / "data/prompts").glob("*.yaml")]
    packages = tuple(f"pipeline.{n}" for n in ("datasets", "descriptions", "methods", "attacks"))
    for name in [*sets, *(name for package in packages for name in registry.names(package))]:
        assert f"`{name}`" in README, name

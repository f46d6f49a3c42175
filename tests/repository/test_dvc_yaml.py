"""dvc.yaml against the code: every import is a dependency, every dependency is an import."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.common import registry
from pipeline.descriptions.params import DescribeParams
from pipeline.evaluation.evaluate import EvaluateParams
from pipeline.models.params import BaseModelParams
from pipeline.soundness.measure import ChecksParams
from pipeline.training.recipe import FinetuneParams

ROOT = Path(__file__).parents[2]
STAGES = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
# the packages whose plug-in a stage loads by the name in params.yaml
PLUGINS = {
    "prepare": ("datasets", "item.source"),
    "base_model": ("base_models", "base_model.source"),
    "describe": ("descriptions", "describe.backend"),
    "finetune": ("methods", "finetune.method"),
    "evaluate": ("attacks", "item.attack"),
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def local_imports(file: Path) -> set[Path]:
    """Files of this repository that `file` imports, their packages included."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path = Path(*name.split("."))
            for candidate in (path.with_suffix(".py"), path / "__init__.py"):
                if (ROOT / candidate).is_file():
                    found.add(candidate)
    return found


def closure(entry: Path) -> set[Path]:
    found, waiting = set(), [entry]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        packages = {p / "__init__.py" for p in file.parents if (ROOT / p / "__init__.py").is_file()}
        waiting += [*local_imports(file), *(p for p in packages if p.parent != Path("."))]
    return found


def plugins(package: str) -> list[Path]:
    files = sorted((ROOT / "pipeline" / package).glob("*.py"))
    return [f.relative_to(ROOT) for f in files if not f.name.startswith("_")]


@pytest.mark.parametrize("name", STAGES)
def test_python_deps_equal_the_import_closure(name):
    expected = {str(path) for path in closure(Path(f"stages/{name}.py"))}
    if name in PLUGINS:
        package, key = PLUGINS[name]
        expected.add(f"pipeline/{package}/${{{key}}}.py")
        own = {str(path) for path in plugins(package)}
        for plugin in plugins(package):
            # helpers of any plug-in always count, another plug-in never does
            expected |= {str(path) for path in closure(plugin)} - own
    listed = [dep for dep in body(name)["deps"] if dep.endswith(".py")]
    assert sorted(listed) == sorted(expected)


@pytest.mark.parametrize(
    "package", ["datasets", "base_models", "descriptions", "methods", "attacks"]
)
def test_no_plugin_imports_another(package):
    own = set(plugins(package))
    for plugin in own:
        assert closure(plugin) & own == {plugin}


@pytest.mark.parametrize("name", [*STAGES, "runner"])
def test_a_stage_loads_plugins_only_from_the_package_declared_here(name):
    text = (ROOT / "stages" / f"{name}.py").read_text()
    quoted = {
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and str(node.value).startswith("pipeline.")
    }
    expected = {f"pipeline.{PLUGINS[name][0]}"} if name in PLUGINS else set()
    assert quoted == expected


@pytest.mark.parametrize("name", STAGES)
def test_commands_run_modules_and_stages_explain_themselves(name):
    assert body(name)["cmd"].split(" $")[0] == f"python -m stages.{name}"
    assert len(body(name)["desc"]) > 20
    assert "persist" not in str(body(name))


CHOSEN = {
    "base_model": "base_model.source",
    "describe": "describe.backend",
    "finetune": "finetune.method",
    "evaluate": "item.attack",
}
# keys that cannot change a stage's output, or whose change must re-run no other matrix entry
UNTRACKED = {
    "base_model": {"options"},
    "describe": {"options"},
    "finetune": {"options", "checkpoint_seconds"},
    "evaluate": {
        "options", "datasets", "attacks", "texts", "attacker", "checks", "strict"
    },
}  # fmt: skip
SCHEMAS = {
    "base_model": BaseModelParams,
    "describe": DescribeParams,
    "finetune": FinetuneParams,
    "evaluate": EvaluateParams,
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_tracks_its_own_section_and_the_chosen_options_only(name):
    params = set(body(name)["params"])
    if name in SCHEMAS:
        expected = {f"{name}.{key}" for key in set(SCHEMAS[name].model_fields) - UNTRACKED[name]}
        expected.add(f"{name}.options.${{{CHOSEN[name]}}}")
        extra = {"finetune.dataset"} if name == "evaluate" else set()
        assert params == expected | extra
    elif name == "check":
        own = {f"evaluate.checks.{key}" for key in set(ChecksParams.model_fields) - {"datasets"}}
        shared = {"norm", "epsilon_255", "space", "batch_size", "seed"}
        shared |= {"precision", "guard_band", "compile"}
        assert params == own | {f"evaluate.{key}" for key in shared}
    else:
        entry = {"prepare": "prepare.sets.${key}", "exemplars": "exemplars.${key}"}
        assert entry.get(name, name) in params


def test_every_output_is_ignored_by_git_except_the_metrics():
    for name in STAGES:
        for out in body(name)["outs"]:
            path = re.sub(r"\$\{[^}]*\}", "x", out)
            found = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT)
            assert found.returncode == 0, f"{path} is not in a .gitignore"
    metrics = subprocess.run(["git", "check-ignore", "-q", "reports/metrics.json"], cwd=ROOT)
    assert metrics.returncode == 1


def test_a_training_knob_leads_to_no_dependency_of_describe():
    assert "pipeline/training/loop.py" not in body("describe")["deps"]
    assert all(key.startswith("describe.") for key in body("describe")["params"])


def test_describe_hangs_on_no_model_and_no_cleaning_rule():
    """What is expensive and shared must not be made again for what came after it."""
    deps = set(body("describe")["deps"])
    assert not [dep for dep in deps if dep.startswith(("data/images", "data/base_model"))]
    assert "data/inputs/${describe.backend}" in deps
    for backend in registry.names("pipeline.backends"):
        assert (ROOT / "data/inputs" / backend).is_dir(), "what DVC watches for this backend"
    rules = {"cleaning", "filter", "relevance", "clip", "embed"}
    assert not deps & {f"pipeline/{name}.py" for name in rules}
    downstream = [
        dep for name in STAGES for dep in body(name)["deps"] if "data/descriptions" in dep
    ]
    assert set(downstream) == {
        "data/descriptions/descriptions.parquet",
        "data/descriptions/provenance.json",
    }
    readers = [name for name in STAGES if "data/descriptions/provenance.json" in body(name)["deps"]]
    assert readers == ["report"]

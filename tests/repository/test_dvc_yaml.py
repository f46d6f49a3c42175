"""dvc.yaml against the code: every import is a dependency, every dependency is an import."""

import ast
import re
import subprocess
from functools import reduce
from itertools import product
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.common import registry
from pipeline.descriptions.params import DescribeParams
from pipeline.evaluation.evaluate import EvaluateParams
from pipeline.models.params import BaseModelParams
from pipeline.soundness.measure import ChecksParams
from pipeline.training.recipe import FinetuneParams
from tests.support.dvc_stages import PLUGINS, STAGES, body, closure, code, imported, plugins, under
from tests.support.project import DEMO, ROOT

# stages that cost hours: nothing but these packages may hold files that they do not import
PRECISE = ("prepare", "describe", "finetune", "evaluate")
COARSE = ("pipeline/common", "pipeline/clip")


@pytest.mark.parametrize("name", STAGES)
def test_every_imported_file_is_under_a_dependency(name):
    deps = code(name)
    assert {f for f in imported(name) if not any(under(f, dep) for dep in deps)} == set()
    listed = {dep for dep in body(name)["deps"] if "$" in dep and dep.startswith("pipeline/")}
    package, key = PLUGINS.get(name, ("", ""))
    assert listed == ({f"pipeline/{package}/${{{key}}}.py"} if package else set())


@pytest.mark.parametrize("name", STAGES)
def test_every_dependency_covers_an_imported_file_and_exists(name):
    files = imported(name)
    for dep in code(name):
        assert any(under(file, dep) for file in files), f"{dep} is not imported by {name}"


@pytest.mark.parametrize("name", PRECISE)
def test_an_expensive_stage_depends_on_no_file_that_it_does_not_import(name):
    covered = {
        file.relative_to(ROOT)
        for dep in code(name)
        for file in ((ROOT / dep).rglob("*.py") if (ROOT / dep).is_dir() else [ROOT / dep])
        if file.stat().st_size
    }
    surplus = covered - imported(name)
    assert {f for f in surplus if not str(f.parent).startswith(COARSE)} == set()


@pytest.mark.parametrize("name", STAGES)
def test_no_dependency_contains_a_package_of_plugins(name):
    packages = [Path("pipeline") / package for package, _ in PLUGINS.values()]
    assert [(d, p) for d in code(name) for p in packages if under(p, d) or under(d, p)] == []


@pytest.mark.parametrize("package", [package for package, _ in PLUGINS.values()])
def test_no_plugin_imports_another(package):
    package_files = set(plugins(package))
    for plugin in package_files:
        assert closure(plugin) & package_files == {plugin}


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


def test_the_library_names_no_package_of_plugins():
    """It would import what no dependency of its stage shows; names are only checked in options.py,
    before any plug-in is due."""
    packages = {f"pipeline.{package}" for package, _ in PLUGINS.values()}
    naming = {
        file.relative_to(ROOT / "pipeline").as_posix()
        for file in (ROOT / "pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and str(node.value).startswith(tuple(packages))
    }
    assert naming == {"common/options.py"}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_thin(name):
    assert len((ROOT / f"stages/{name}.py").read_text().splitlines()) <= 60


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
        check_keys = {
            f"evaluate.checks.{key}" for key in set(ChecksParams.model_fields) - {"datasets"}
        }
        shared = {"norm", "epsilon_255", "space", "batch_size", "seed"}
        shared |= {"precision", "guard_band", "compile"}
        assert params == check_keys | {f"evaluate.{key}" for key in shared}
    else:
        entry = {"prepare": "prepare.sets.${key}", "exemplars": "exemplars.${key}"}
        assert entry.get(name, name) in params


def test_every_output_is_ignored_by_git_except_the_metrics():
    for name in STAGES:
        for out in body(name)["outs"]:
            path = re.sub(r"\$\{[^}]*\}", "x", out)
            ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT)
            assert ignored.returncode == 0, f"{path} is not in a .gitignore"
    metrics = subprocess.run(["git", "check-ignore", "-q", "reports/metrics.json"], cwd=ROOT)
    assert metrics.returncode == 1


def test_describe_hangs_on_no_model_and_no_cleaning_rule():
    """What is expensive and shared must not be made again for what came after it."""
    deps = set(body("describe")["deps"])
    assert all(key.startswith("describe.") for key in body("describe")["params"])
    assert not [dep for dep in deps if dep.startswith(("data/images", "data/base_model"))]
    assert "data/inputs/${describe.backend}" in deps
    for backend in registry.names("pipeline.backends"):
        assert (ROOT / "data/inputs" / backend).is_dir(), "what DVC watches for this backend"
    packages = {path.parts[1] for path in imported("describe") if path.parts[0] == "pipeline"}
    assert packages == {"common", "images", "descriptions"}
    downstream = [
        dep for name in STAGES for dep in body(name)["deps"] if "data/descriptions" in dep
    ]
    assert set(downstream) == {
        "data/descriptions/descriptions.parquet",
        "data/descriptions/provenance.json",
    }
    readers = [name for name in STAGES if "data/descriptions/provenance.json" in body(name)["deps"]]
    assert readers == ["report"]


def instances(name: str, params: dict) -> set[str]:
    """The stages that `foreach` or `matrix` makes of an entry of dvc.yaml."""

    def value(reference: str):
        keys = re.fullmatch(r"\$\{(.+)\}", reference)[1].split(".")
        return reduce(lambda values, key: values[key], keys, params)

    entry = STAGES[name]
    if "foreach" in entry:
        return {f"{name}@{key}" for key in value(entry["foreach"])}
    if "matrix" in entry:
        choices = [value(reference) for reference in entry["matrix"].values()]
        return {f"{name}@{'-'.join(combination)}" for combination in product(*choices)}
    return {name}


def test_the_committed_lock_holds_the_stages_of_the_demo_and_no_other():
    lock = subprocess.run(
        ["git", "show", "HEAD:dvc.lock"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load(DEMO.read_text())
    expected = {stage for name in STAGES for stage in instances(name, params)}
    assert set(yaml.load(lock)["stages"]) == expected

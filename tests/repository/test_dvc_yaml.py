"""The two pipeline files against the code.

(a) every file that a stage imports is under one of its dependencies,
(b) every dependency that is code holds a file that the stage imports,
(c) a stage that costs hours depends on no other file, but for those of COARSE,
(d) plug-ins come through the chosen file alone: no dependency holds a package of them, none imports
    another, and only the stage that is declared here loads them,
(e) a stage tracks its own keys and the options of the chosen plug-in, and no other.
"""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.common import registry
from pipeline.common.params import read_params
from pipeline.descriptions.params import DescribeParams
from pipeline.evaluation.params import EvaluateParams
from pipeline.soundness.measure import ChecksParams
from pipeline.training.recipe import FinetuneParams
from tests.support.dvc_stages import (
    FILES,
    PLUGINS,
    STAGES,
    STAGES_OF,
    asked_for,
    body,
    closure,
    code,
    imported,
    plugins,
    under,
)
from tests.support.project import DEMO, ROOT

# stages that cost hours: nothing but these packages may hold files that they do not import
PRECISE = ("prepare", "describe", "finetune", "evaluate")
NAMES = "data/names"
METRICS = "reports/metrics.json"
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


@pytest.mark.parametrize("file", FILES)
def test_every_stage_runs_at_the_root_and_no_name_is_in_both_files(file):
    folders = {name: body(name).get("wdir", ".") for name in STAGES_OF[file]}
    assert set(folders.values()) == {"." if Path(file).parent == Path() else ".."}
    others = {name for other in FILES if other != file for name in STAGES_OF[other]}
    assert others & set(folders) == set()


CHOSEN = {
    "describe": "describe.backend",
    "finetune": "finetune.method",
    "evaluate": "item.attack",
}
# keys that cannot change a stage's output, or whose change must re-run no other matrix entry
UNTRACKED = {
    "describe": {"options"},
    "finetune": {"options", "checkpoint_seconds"},
    "evaluate": {
        "options", "models", "datasets", "attacks", "texts", "epsilons_255", "attacker", "checks",
        "strict",
    },
}  # fmt: skip
SCHEMAS = {"describe": DescribeParams, "finetune": FinetuneParams, "evaluate": EvaluateParams}
# of the headline, which is what is checked, and of the attack that checks
CHECKED = {
    "texts.0", "epsilons_255.0", "norm", "space", "batch_size", "precision", "guard_band",
    "compile", "seed",
}  # fmt: skip
# the other stages, whose params are read in pieces
TRACKED = {
    "names": {
        "prepare.sets", "pretrain", "models", "embed.texts", "describe.dataset",
        "describe.backend", "exemplars", "describe.exemplars", "confusions",
        "describe.confusions", "finetune.dataset", "finetune.validation.dataset",
        "finetune.method", "evaluate.datasets", "evaluate.checks.datasets", "evaluate.attacks",
        "evaluate.texts", "evaluate.attacker", "evaluate.models", "evaluate.epsilons_255",
    },
    "about": set(),
    "classes": set(),
    "checked_classes": set(),
    "embed": {"evaluate.datasets", "evaluate.attacker", "evaluate.checks.datasets"},
    "check": {
        *(f"evaluate.checks.{key}" for key in set(ChecksParams.model_fields) - {"datasets"}),
        *(f"evaluate.{key}" for key in CHECKED),
    },
    "prepare": {"prepare.on_unreadable", "prepare.sets.${key}"},
    "pretrain": {"pretrain.${key}"},
    "model": {"models.${key}"},
    "exemplars": {"exemplars.${key}", "describe.dataset"},
    "confusions": {"confusions.text.${key}", "describe.dataset"},
    "image_confusions": {"confusions.images.${key}", "describe.dataset"},
    "filter": {"filter", "describe.dataset"},
    "texts": {"embed.texts.${key}", "evaluate.datasets", "evaluate.checks.datasets"},
    "embed_training": {
        "embed.texts", "finetune.dataset", "finetune.texts", "finetune.captions",
    },
    "record": set(),
    # what it says of the run: all that a value can change
    "report": set(read_params(DEMO)) - {"data"},
}  # fmt: skip


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_tracks_its_own_section_and_the_chosen_options_only(name):
    params = body(name).get("params", [])
    assert len(params) == len(set(params))
    expected = TRACKED.get(name)
    if name in SCHEMAS:
        expected = {f"{name}.{key}" for key in set(SCHEMAS[name].model_fields) - UNTRACKED[name]}
        expected.add(f"{name}.options.${{{CHOSEN[name]}}}")
    assert set(params) == expected


def test_whatever_dvc_makes_of_names_waits_until_they_are_checked():
    """DVC removes the outputs of a stage before its command could refuse the name."""
    assert body("names")["outs"] == [NAMES]
    for name in STAGES:
        made_of_names = {"foreach", "matrix"} & set(STAGES[name])
        assert (NAMES in body(name)["deps"]) == bool(made_of_names), name


def test_every_output_is_ignored_by_git_except_the_metrics():
    for name in STAGES:
        for out in body(name).get("outs", []):
            if out == {METRICS: {"cache": False}}:
                continue
            path = re.sub(r"\$\{[^}]*\}", "x", out)
            ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT)
            assert ignored.returncode == 0, f"{path} is not in a .gitignore"
    for path in (METRICS, "reports/headline.json"):
        ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT)
        assert ignored.returncode == 1, path


def test_confusable_classes_by_text_hang_on_no_image():
    assert [dep for dep in body("confusions")["deps"] if dep.startswith("data/")] == [
        NAMES,
        "data/classes/${describe.dataset}.parquet",
        "data/models/base/clip",
    ]


def test_describe_hangs_on_no_model_and_no_cleaning_rule():
    """What is expensive and shared must not be made again for what came after it."""
    deps = set(body("describe")["deps"])
    assert all(key.startswith("describe.") for key in body("describe")["params"])
    assert not [dep for dep in deps if dep.startswith(("data/images", "data/models"))]
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
    assert readers == ["record"]


@pytest.mark.parametrize("file", FILES)
def test_the_committed_lock_holds_the_stages_of_the_demo_and_no_other(file):
    lock = Path(file).with_suffix(".lock")
    text = subprocess.run(
        ["git", "show", f"HEAD:./{lock}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    locked = set(YAML(typ="safe", pure=True).load(text)["stages"])
    assert locked == asked_for(read_params(DEMO))[file]

"""pyproject.toml declares what the code imports, at the top or inside a function."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.support.project import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"pipeline", "stages", "saft"}
# modules named otherwise than their distribution, which may be absent, or of several; and parts
# that dvc is made of, whose versions its own releases decide
PARTS = {
    "pynvml": "nvidia-ml-py",
    "ruamel": "ruamel.yaml",
    "dvc_objects": "dvc",
    "scmrepo": "dvc",
}
DOORS = {"torch.utils.tensorboard": "tensorboard"}  # modules that are of no use without another


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in requirements}


def imported(source: str) -> set[str]:
    """Top-level modules of the import statements and of import_module("...")."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names += [a.value for a in node.args if isinstance(a, ast.Constant)]
    names = [DOORS.get(name, name) for name in names]
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - OURS


def distributions(folders: set[str]) -> dict[str, set[Path]]:
    """Distribution -> the files that import it; a module of none stands for itself."""
    known, files_of = packages_distributions(), {}
    for file in sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for module in imported(file.read_text()):
            name = PARTS.get(module) or known.get(module, [module])[0]
            files_of.setdefault(normal(name), set()).add(file.relative_to(ROOT))
    return files_of


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    extras = PROJECT["optional-dependencies"]
    extra = declared([text for name in extras if name != "test" for text in extras[name]])
    needed, files = declared(PROJECT["dependencies"]), distributions(OURS)
    missing = {name: files[name] for name in set(files) - needed - extra}
    assert missing == {}, "imported, but declared in pyproject.toml nowhere"
    assert needed - set(files) == set(), "declared in pyproject.toml, but imported nowhere"
    assert extra <= set(files)


def test_only_the_backend_and_its_engine_import_vllm_and_only_when_it_runs():
    files = {Path("pipeline/backends/vllm.py"), Path("pipeline/descriptions/vllm_engine.py")}
    assert distributions(OURS)["vllm"] == files
    for file in files:
        tree = ast.parse((ROOT / file).read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert "vllm" not in {name for node in top for name in imported(ast.unparse(node))}


def test_every_way_to_import_is_seen():
    source = (
        "def f():\n import a.b\nfrom c.d import e\nimport_module('g.h')\nimport os\nfrom . import x"
    )
    assert imported(source) == {"a", "c", "g"}
    assert declared(["open_clip_torch>=3", "ruff==1", "a[b]>=2", "c"]) == {
        "open-clip-torch", "ruff", "a", "c",
    }  # fmt: skip


def test_no_test_module_imports_another():
    imports = {
        file.relative_to(ROOT).as_posix(): re.findall(
            r"^from tests[\w.]*(?:\.| import )test_\w+", file.read_text(), re.MULTILINE
        )
        for file in (ROOT / "tests").rglob("*.py")
    }
    assert {file: names for file, names in imports.items() if names} == {}

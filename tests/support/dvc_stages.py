"""dvc.yaml and the import graph of the code behind it."""

import ast
from pathlib import Path

from ruamel.yaml import YAML

from tests.support.project import ROOT

STAGES = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
# the packages whose plug-in a stage loads by the name in params.yaml
PLUGINS = {
    "prepare": ("datasets", "item.source"),
    "base_model": ("model_sources", "base_model.source"),
    "describe": ("backends", "describe.backend"),
    "finetune": ("methods", "finetune.method"),
    "evaluate": ("attacks", "item.attack"),
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def local_imports(file: Path) -> set[Path]:
    """Files of this repository that `file` imports, their packages included."""
    files: set[Path] = set()
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
                    files.add(candidate)
    return files


def closure(entry: Path) -> set[Path]:
    reached, waiting = set(), [entry]
    while waiting:
        file = waiting.pop()
        if file in reached:
            continue
        reached.add(file)
        packages = {p / "__init__.py" for p in file.parents if (ROOT / p / "__init__.py").is_file()}
        waiting += [*local_imports(file), *(p for p in packages if p.parent != Path("."))]
    return reached


def plugins(package: str) -> list[Path]:
    files = sorted((ROOT / "pipeline" / package).glob("*.py"))
    return [f.relative_to(ROOT) for f in files if not f.name.startswith("_")]


def imported(name: str) -> set[Path]:
    """Files that a stage can import: those of its entry and, whichever plug-in is chosen, what
    that imports. Empty files are no dependency."""
    files = closure(Path(f"stages/{name}.py"))
    if name in PLUGINS:
        chosen_from = set(plugins(PLUGINS[name][0]))
        files |= {file for plugin in chosen_from for file in closure(plugin)} - chosen_from
    return {file for file in files if (ROOT / file).stat().st_size}


def code(name: str) -> list[Path]:
    """The dependencies of a stage that are code, the chosen plug-in apart."""
    deps = [Path(dep) for dep in body(name)["deps"]]
    return [dep for dep in deps if dep.parts[0] in ("pipeline", "stages") and "$" not in dep.name]


def under(file: Path, dep: Path) -> bool:
    return file == dep or dep in file.parents

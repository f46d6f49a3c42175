"""Counts on the layout of a checkout: `python scripts/layout.py [FOLDER]`.

A unit is a package directly below pipeline/ or saft/, or a module there that is not empty;
stages/ is one unit. An arrow goes from a unit to one that it imports.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("pipeline", "stages", "saft")
PIPELINES = ("dvc.yaml", "stages/dvc.yaml")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def unit(path: Path) -> str:
    """`pipeline/clip/model.py` -> pipeline/clip, `pipeline/old.py` -> pipeline/old."""
    return "stages" if path.parts[0] == "stages" else "/".join(path.with_suffix("").parts[:2])


def modules(root: Path) -> dict[Path, ast.Module]:
    """The modules that are not empty, relative to the root, parsed."""
    files = [f for folder in FOLDERS for f in sorted((root / folder).rglob("*.py"))]
    return {f.relative_to(root): ast.parse(f.read_text()) for f in files if f.stat().st_size}


def imported(root: Path, tree: ast.Module) -> Iterator[Path]:
    """Files below the root that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in [*names, *([node.module] if node.names else [])]:
                path = Path(*name.split("."))
                for file in (path.with_suffix(".py"), path / "__init__.py"):
                    if path.parts[0] in FOLDERS and (root / file).is_file():
                        yield file


def arrows(root: Path, trees: dict[Path, ast.Module]) -> set[tuple[str, str]]:
    """Pairs of units, the second imported by the first."""
    pairs = {
        (unit(file), unit(target))
        for file, tree in trees.items()
        for target in imported(root, tree)
        if target in trees
    }
    return {pair for pair in pairs if pair[0] != pair[1]}


def functions(trees: dict[Path, ast.Module]) -> Iterator[tuple[Path, Function]]:
    """Every function with its file."""
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield file, node


def names(function: Function) -> set[str]:
    """Variables that a function assigns, and its arguments."""
    stored = {
        n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    return stored | {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}


def lines(file: Path) -> int:
    """How many lines a file has; 0 without it."""
    return len(file.read_text().splitlines()) if file.is_file() else 0


def main(root: Path) -> None:
    """Print the counts."""
    trees = modules(root)
    files = [root / name for name in PIPELINES if (root / name).is_file()]
    dvc = "\n".join(file.read_text() for file in files)
    entries = [f"stages/{name}.py" for name in set(re.findall(r"python -m stages\.(\w+)", dvc))]
    lengths = {(f, n.name): (n.end_lineno or 0) - n.lineno + 1 for f, n in functions(trees)}
    longest = max(lengths, key=lambda key: lengths[key])
    longest_file = max(trees, key=lambda file: lines(root / file))
    longest_stage = max(entries, key=lambda name: lines(root / name))
    in_pipeline = [file for file in trees if file.parts[0] == "pipeline" and len(file.parts) == 2]
    counts = {
        "units": len({unit(file) for file in trees}),
        "import arrows between units": len(arrows(root, trees)),
        "modules directly in pipeline/": sum(f.name != "__init__.py" for f in in_pipeline),
        "lines of pipeline files": sum(map(lines, files)),
        "code dependencies of stages": len(re.findall(r"^ *- (?:pipeline|stages)/", dvc, re.M)),
        "lines of profiles": sum(lines(file) for file in (root / "profiles").glob("*.yaml")),
        "words of README.md": len((root / "README.md").read_text().split()),
        "functions with a variable `found`": sum("found" in names(f) for _, f in functions(trees)),
        "longest stage": f"{lines(root / longest_stage)} lines, {longest_stage}",
        "longest file": f"{lines(root / longest_file)} lines, {longest_file}",
        "longest function": f"{lengths[longest]} lines, {longest[1]} in {longest[0]}",
    }  # fmt: skip
    for name, count in counts.items():
        print(f"{name:36}{count}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])

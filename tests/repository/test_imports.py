"""Imports between packages against the table in CONTRIBUTING.md."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.dvc_stages import PLUGINS, local_imports
from tests.support.project import ROOT

ROWS = re.findall(r"^\| (\w+) \| ?(.*?) ?\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
PACKAGES = sorted({f.parent.name for f in (ROOT / "pipeline").glob("*/*.py")})
TABLE = {name: allowed for name, allowed in ROWS if name in PACKAGES}


def imports(folder: Path) -> set[Path]:
    """Files of other packages that the modules in `folder` import, but for empty ones."""
    files = {path for file in folder.rglob("*.py") for path in local_imports(file)}
    return {f for f in files if (ROOT / f).stat().st_size and folder not in (ROOT / f).parents}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_what_the_table_allows(package):
    allowed = tuple(f"pipeline.{name}." for name in re.split(", ", TABLE[package]) if name)
    files = imports(ROOT / "pipeline" / package)
    modules = {".".join(file.with_suffix("").parts) + "." for file in files}
    assert {m for m in modules if not m.startswith(allowed or ("none",))} == set()


def test_stages_import_neither_plugins_nor_the_command():
    plugins = {package for package, _ in PLUGINS.values()}
    subjects = {("pipeline", name) for name in PACKAGES if name not in plugins}
    assert {file.parts[:2] for file in imports(ROOT / "stages")} <= subjects


def test_the_table_has_no_cycle_and_no_module_is_outside_a_package():
    sorter = TopologicalSorter({n: re.findall(r"(\w+)[.\w]*", a) for n, a in TABLE.items()})
    assert set(sorter.static_order()) == set(PACKAGES)
    assert [f.name for f in (ROOT / "pipeline").glob("*.py")] == ["__init__.py"]

"""Imports between packages against the table in CONTRIBUTING.md."""

import re
from pathlib import Path

import pytest

from tests.support.dvc_stages import PLUGINS, local_imports
from tests.support.project import ROOT

ROWS = re.findall(r"^\| (\w+) \| ?(.*?) ?\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
TABLE = {package: allowed for package, allowed in ROWS if (ROOT / "pipeline" / package).is_dir()}
PLUGIN_PACKAGES = {package for package, _ in PLUGINS.values()}


def imports(folder: Path) -> set[Path]:
    """Files of other packages that the modules in `folder` import, but for empty ones."""
    files = {path for file in folder.rglob("*.py") for path in local_imports(file)}
    return {f for f in files if (ROOT / f).stat().st_size and folder not in (ROOT / f).parents}


@pytest.mark.parametrize(
    "package", sorted({f.parent.name for f in (ROOT / "pipeline").glob("*/*.py")})
)
def test_a_package_imports_what_the_table_allows(package):
    allowed = tuple(f"pipeline.{name}." for name in re.split(", ", TABLE[package]) if name)
    modules = {
        ".".join(path.with_suffix("").parts) for path in imports(ROOT / "pipeline" / package)
    }
    assert {m for m in modules if not f"{m}.".startswith(allowed or ("none",))} == set()


def test_stages_import_neither_plugins_nor_the_command():
    packages = {path.parts[0]: path.parts[1] for path in imports(ROOT / "stages")}
    assert set(packages) == {"pipeline"}
    assert not {path.parts[1] for path in imports(ROOT / "stages")} & PLUGIN_PACKAGES

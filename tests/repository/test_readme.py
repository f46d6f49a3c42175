"""The README's length and tables; test_docs.py is about the links and commands of all pages.

The result table is the one that the committed run produced; a run in this checkout overwrites
reports/metrics.json with numbers of its own, which the README need not equal.
"""

import json
import re
import subprocess

import pytest

from tests.support import checkout
from tests.support.dvc_stages import STAGES
from tests.support.pages import first_column
from tests.support.project import ROOT

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
    for name, accuracies_of in metrics.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
        shown = [float(number) for number in re.findall(r"\| \**(\d+\.\d) \(", row)]
        keys = ("clean", "pgd", "robust")
        expected = [accuracies_of[m][k] for m in ("base", "finetuned") for k in keys]
        assert shown == [round(100 * value, 1) for value in expected], name


def test_the_stage_table_names_every_stage():
    named = [name.partition("@")[0] for name in first_column("README.md", "stage")]
    assert sorted(named) == sorted(STAGES)


def test_the_readme_is_short():
    assert len(README.split()) <= 1400  # `wc -w README.md`; the rest is in docs/


@pytest.mark.reads_checkout
def test_a_test_that_opens_a_users_file_is_noticed(monkeypatch):
    """The fixture of conftest that forbids it sees absolute and relative names."""
    monkeypatch.chdir(ROOT)
    (ROOT / "params.yaml").read_bytes()
    with open("dvc.lock", "rb"):
        pass
    (ROOT / "pyproject.toml").read_bytes()
    assert checkout.opened == [str(ROOT / "params.yaml"), str(ROOT / "dvc.lock")]

"""A params file that this project can read and DVC cannot."""

from pathlib import Path

import pytest

from saft.libyaml import unreadable_by_dvc
from tests.support.project import DEMO, run

FILE = Path("params.yaml")


def test_the_demo_is_readable() -> None:
    assert unreadable_by_dvc(DEMO.read_bytes(), DEMO) == []


def test_a_colon_within_braces_is_told_with_its_line() -> None:
    [problem] = unreadable_by_dvc(b"a: 1\nb: {model: hf-hub:some/clip}\n", FILE)
    assert problem.startswith("params.yaml: line 2: DVC cannot read it (found unexpected ':'); put")


@pytest.mark.parametrize(
    "text", [b"b: {model: 'hf-hub:some/clip'}", b"b:\n  model: hf-hub:some/clip"]
)
def test_in_quotes_or_on_a_line_of_its_own_it_is_none(text: bytes) -> None:
    assert unreadable_by_dvc(text, FILE) == []


def test_dvc_agrees(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "dvc", "init", "-q")
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: x\n    params: [b]\n")
    (tmp_path / FILE).write_text("b: {model: hf-hub:some/clip}\n")
    assert "found unexpected ':'" in run(tmp_path, "dvc", "status", status=1)
    (tmp_path / FILE).write_text("b: {model: 'hf-hub:some/clip'}\n")
    run(tmp_path, "dvc", "status")

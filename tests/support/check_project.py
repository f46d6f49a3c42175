"""A throw-away project for the tests of `saft check`, and what they all do in it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from saft.app import app
from saft.check import times


def entered(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The copy as current folder; params.yaml is put back afterwards."""
    monkeypatch.chdir(checkout)
    for name in ("SAFT_DATA", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(times, "MEASURE_SECONDS", 0.01)
    before = Path("params.yaml").read_bytes()
    yield checkout
    Path("params.yaml").write_bytes(before)


def change(**changes: object) -> None:
    """Set keys "section__key" of params.yaml."""
    yaml = YAML()
    values = yaml.load(Path("params.yaml").read_text())
    for path, value in changes.items():
        *parents, key = path.split("__")
        target = values
        for part in parents:
            target = target[part]
        target[key] = value
    with Path("params.yaml").open("w") as stream:
        yaml.dump(values, stream)


def check(status: int, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["check", *arguments])
    assert done.exit_code == status, done.output
    return done.output


def problems() -> list[str]:
    """The numbered lines at the end of a check that fails."""
    text = check(1).partition("To fix:\n")[2]
    problems = re.findall(r"^  (\d+)\. (.+)$", text, re.MULTILINE)
    assert [int(number) for number, _ in problems] == list(range(1, len(problems) + 1))
    return [line for _, line in problems]

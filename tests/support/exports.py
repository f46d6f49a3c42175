"""`saft export` called in the current folder."""

from pathlib import Path

from typer.testing import CliRunner

from saft.app import app


def export(dest: object = "robust-clip", *options: str, status: int = 0) -> str:
    """What it prints."""
    done = CliRunner().invoke(app, ["export", str(dest), *options])
    assert done.exit_code == status, done.output
    return done.output


def refused(dest: object = "robust-clip", *options: str) -> str:
    """The one line of a failure, which leaves nothing behind."""
    before = sorted(Path().rglob("*"))
    output = export(dest, *options, status=1)
    assert sorted(Path().rglob("*")) == before
    assert output.startswith("error: saft export: "), output
    assert output.count("\n") == 1
    return output

"""The `saft` command in this process: what it prints, and how it refuses."""

from pathlib import Path

from typer.testing import CliRunner

from saft.app import app


def output_of(command: str, *words: object, status: int = 0) -> str:
    """What `saft COMMAND WORDS` prints on both streams, ending with this status."""
    done = CliRunner().invoke(app, [command, *map(str, words)])
    assert done.exit_code == status, done.output
    return done.output


def refusal(command: str, *words: object) -> str:
    """The one line of its error; nothing is written or removed in the current folder."""
    before = sorted(Path().rglob("*"))
    output = output_of(command, *words, status=1)
    assert sorted(Path().rglob("*")) == before
    assert output.startswith(f"error: saft {command}: "), output
    assert output.count("\n") == 1
    return output

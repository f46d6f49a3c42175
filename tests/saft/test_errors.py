"""How a `saft` command ends: one line on stderr, status 1, whatever was raised."""

import pytest
import typer

from pipeline.common.errors import UserError
from saft import info
from saft.descriptions import command as descriptions
from saft.errors import one_line_errors

BUG = "this is a bug of this project; SAFT_TRACEBACK=1 for more"


def ended(error: Exception, capsys: pytest.CaptureFixture[str], command: str = "saft x") -> str:
    """What a command prints that raises `error`, which must be one line on stderr."""

    @one_line_errors(command)
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("\n")
    assert printed.err.count("\n") == 1
    return printed.err.rstrip("\n")


def test_what_a_user_can_fix_is_no_bug(capsys):
    assert ended(UserError("a.yaml: no"), capsys) == "error: saft x: a.yaml: no"
    assert ended(UserError("saft x: no"), capsys) == "error: saft x: no"
    assert ended(UserError("no"), capsys, "") == "error: no"
    full = OSError(28, "No space left on device", "out.json")
    assert ended(full, capsys) == "error: saft x: out.json: No space left on device"
    assert ended(MemoryError(), capsys) == "error: saft x: out of memory"


def test_a_bug_is_one_line_that_says_so(capsys):
    assert ended(KeyError("a"), capsys) == f"error: saft x: KeyError: 'a'; {BUG}"
    assert f": ValueError: a b; {BUG}" in ended(ValueError("a\n  b"), capsys, "")
    assert (
        ended(AssertionError(), capsys) == f"error: saft x: AssertionError: AssertionError; {BUG}"
    )


def test_the_command_is_named_as_it_is_typed(monkeypatch, capsys):
    monkeypatch.setattr("saft.info.collect", lambda: {}["a"])
    with pytest.raises(SystemExit):
        info.main()
    assert capsys.readouterr().err == f"error: saft info: KeyError: 'a'; {BUG}\n"
    monkeypatch.setattr("saft.descriptions.command.collect", lambda _: {}["a"])
    with pytest.raises(SystemExit):
        descriptions.show()
    assert capsys.readouterr().err.startswith("error: saft descriptions show: KeyError: ")


def test_the_traceback_is_there_for_who_asks_without_secrets(monkeypatch, capsys):
    monkeypatch.setenv("SAFT_TRACEBACK", "1")
    monkeypatch.setenv("SOME_KEY", "0123456789abcdef")

    @one_line_errors("saft x")
    def main() -> None:
        raise KeyError("0123456789abcdef")

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last):")
    assert "\nKeyError: '***'\n" in shown
    assert shown.endswith(f"error: saft x: KeyError: '***'; {BUG}\n")


@pytest.mark.parametrize("error", [typer.Exit(3), typer.Abort(), typer.BadParameter("x")])
def test_the_command_line_ends_its_own_way(error):
    @one_line_errors("saft x")
    def main() -> None:
        raise error

    with pytest.raises(type(error)):
        main()

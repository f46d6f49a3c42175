"""How a `saft` command ends: one line on stderr, status 1, whatever was raised."""

import os
import re
import signal
import time

import pytest
import typer

from pipeline.common.errors import UserError
from saft import info
from saft.descriptions import command as descriptions
from saft.errors import one_line_errors

BUG = r"\(.* line \d+\); SAFT_TRACEBACK=1 shows more, for a report of this defect"


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
    line = ended(full, capsys)
    assert line.startswith("error: saft x: out.json: No space left on device: ")
    assert ended(MemoryError(), capsys) == "error: saft x: out of memory"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("a\n  b"), "ValueError: a b"),
        (AssertionError(), "AssertionError: AssertionError"),
    ],
)
def test_a_bug_is_one_line_that_says_so(capsys, error, words):
    line = ended(error, capsys)
    assert re.fullmatch(f"error: saft x met what it does not expect: {words} {BUG}", line)


def test_the_command_is_named_as_it_is_typed(monkeypatch, capsys):
    monkeypatch.setattr("saft.info.collect", lambda: {}["a"])
    with pytest.raises(SystemExit):
        info.main()
    assert capsys.readouterr().err.startswith("error: saft info met what ")
    monkeypatch.setattr("saft.descriptions.command.collect", lambda _: {}["a"])
    with pytest.raises(SystemExit):
        descriptions.show()
    assert capsys.readouterr().err.startswith("error: saft descriptions show met what ")


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
    assert "met what it does not expect: KeyError: '***' (" in shown


def test_a_signal_that_ends_a_process_ends_a_command_like_an_interrupt():
    @one_line_errors("saft x")
    def main() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        main()


@pytest.mark.parametrize("error", [typer.Exit(3), typer.Abort(), typer.BadParameter("x")])
def test_the_command_line_ends_its_own_way(error):
    @one_line_errors("saft x")
    def main() -> None:
        raise error

    with pytest.raises(type(error)):
        main()

"""Stages that end in an error, as a user sees it."""

import pytest


def fails(main, *args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(*args)
    return caught.value.code


def one_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]

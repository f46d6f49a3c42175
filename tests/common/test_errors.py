"""The wording that messages share."""

import pytest

from pipeline.common.errors import first_line, listed


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(""), "ValueError"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
    ],
)
def test_first_line_of_an_error(error, line):
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("names", "line"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_names_beyond_the_limit_are_counted(names, line):
    assert listed(names, 2) == line


def test_the_separator_is_between_the_names_only():
    assert listed(["a", "b", "c"], 2, "; ") == "a; b and 1 more"

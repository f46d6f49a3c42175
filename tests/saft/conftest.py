"""A throw-away project for the tests of `saft check`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.check_project import entered
from tests.support.project import make


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy of this project with its tiny demo; nothing has run in it."""
    return make(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The copy as current folder, as `entered` leaves it."""
    yield from entered(checkout, monkeypatch)

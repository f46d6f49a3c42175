"""The tiny project after its first `dvc repro`, made once for all tests and their workers."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.project import make, run

LOG = "first-repro.log"


def built_project(factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project in which the real dvc has run everything, and what it printed; to be read only."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all workers
    folder, log = shared / "built", shared / LOG
    with FileLock(shared / "built.lock"):
        if not log.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            output = run(make(folder), "dvc", "repro")
            log.write_text(output, encoding="utf-8")
    return folder, log.read_text(encoding="utf-8")

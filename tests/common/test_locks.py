"""One process at a time, also where the file system has no flock."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.common.locks import UNSUPPORTED, held


@pytest.fixture(
    params=[None, *UNSUPPORTED], ids=lambda number: errno.errorcode.get(number, "flock")
)
def lock(request, tmp_path, monkeypatch) -> Path:
    """A lock file on a file system with flock, and on those that refuse it."""
    if request.param is not None:

        def refused(*_: object) -> None:
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(fcntl, "flock", refused)
    return tmp_path / "state.lock"


def test_a_second_holder_is_refused_and_the_next_is_not(lock):
    with held(lock, "busy"), pytest.raises(UserError, match="busy"), held(lock, "busy"):
        pass
    with held(lock, "busy"):
        pass


def test_an_empty_lock_file_that_was_left_there_holds_nobody_up(lock):
    lock.touch()
    with held(lock, "busy"), pytest.raises(UserError, match="busy"), held(lock, "busy"):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(lock, request):
    refuse = (
        ""
        if "flock" in request.node.name.split("[")[1]
        else (
            "import fcntl, os\n"
            "def refused(*_): raise OSError(95, os.strerror(95))\n"
            "fcntl.flock = refused\n"
        )
    )
    code = refuse + (
        "import os; from pathlib import Path; from pipeline.common.locks import held\n"
        f"with held(Path('{lock}'), 'busy'): os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -9
    with held(lock, "busy"):
        pass


def test_a_lock_of_another_machine_says_what_to_delete(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    soft = tmp_path / "state.soft-lock"
    soft.write_text("12345\nanother-machine\n")
    with (
        pytest.raises(UserError, match=rf"busy; .*no flock.* {soft} .*delete it if"),
        held(tmp_path / "state.lock", "busy"),
    ):
        pass
    assert soft.exists()

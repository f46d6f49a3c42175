"""DVC experiments that a command makes: run in a folder of their own, and read from DVC's cache."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.errors import UserError, one_line
from pipeline.common.locks import held


@contextmanager
def alone(name: str) -> Iterator[None]:
    """While the block runs no other process runs what has that name: each would replace the
    experiments of the other.

    Raises:
        UserError: another process runs one.
    """
    busy = f"another process is running {name} in this folder; wait for it or stop it"
    with held(Path(".scratch") / f"{name}.lock", busy):
        yield


def run(experiment: str, changes: Sequence[str]) -> bool:
    """One `dvc exp run` with changed params, in place of an earlier one of that name; whether it
    ended well."""
    dvc("exp", "remove", "-q", experiment, quiet=True)
    arguments = ["exp", "run", "--temp", "--name", experiment]
    arguments += [part for change in changes for part in ("-S", change)]
    print(f"$ dvc {shlex.join(arguments)}", flush=True)
    return not dvc(*arguments)


def dvc(*arguments: str, quiet: bool = False) -> int:
    """Run this environment's dvc, whose stages find this environment's python; its status."""
    scripts = str(Path(sys.executable).parent)
    path = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=quiet)
    return done.returncode


def fetch(experiment: str, paths: Sequence[str], folder: Path, advice: str = "") -> None:
    """Copy outputs of an experiment from DVC's cache into `folder`.

    Args:
        advice: what to do where that fails, at the end of the message.

    Raises:
        UserError: there is no such experiment, or an output of it is not in the cache.
    """
    from dvc.api import DVCFileSystem  # seconds to import
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        files = DVCFileSystem(rev=experiment)
        for path in paths:
            files.get(path, str(folder / path), recursive=True)
    except (DvcException, SCMError, FileNotFoundError) as error:
        reason = one_line(error, 1000)
        end = f"; {advice}" if advice else ""
        raise UserError(f"experiment {experiment} cannot be read ({reason}){end}") from None

"""Outputs appear whole or not at all: write elsewhere on the same file system, then rename.

What is unfinished is in .scratch/partial/ of the project's folder, which no stage depends on and
which git and DVC ignore. A target outside it, or on another file system, has it beside itself.
What a killed process left there goes with the next write, what one of another host or container
left after a week.
"""

import errno
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.storage import naming_target

PROJECT = Path("dvc.yaml")  # is in the folder of a project, which has .scratch/, too
PARTIALS = Path(".scratch/partial")
NAMESPACE = Path("/proc/self/ns/pid")  # containers of one host name each count their processes
FOREIGN_SECONDS = 7 * 24 * 3600  # age at which the partial of another host counts as left over
_NUMBERS = count()


def _host() -> str:
    """What tells which processes a process id can be asked of, in letters, digits and "_"."""
    name = "".join(c if c.isalnum() else "_" for c in socket.gethostname())[:64]
    try:
        return f"{name}_{NAMESPACE.stat().st_ino}"
    except OSError:  # not Linux, or a sandbox that forbids it
        return name


HOST = _host()


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename it onto `path` when the block succeeds.

    Raises:
        UserError: the file system is full.
    """
    with _parents(path):
        partial = _partial(path)
        try:
            with naming_target(path, partial):
                if partial.parent == path.parent:
                    partial.touch()  # keeps the folder, if another write that made it fails
                yield partial
                _rename(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; it replaces `path` when the block succeeds.

    Raises:
        UserError: the file system is full; another process wrote `path` meanwhile, which is left.
    """
    path = path.resolve() if path.is_symlink() else path
    with _parents(path):
        before, partial = _identity(path), _partial(path)
        partial.mkdir()
        try:
            with naming_target(path, partial):
                yield partial
                _replace_directory(partial, path, before)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders that `path` is to lie in; when the block fails, those made here go again."""
    missing = [folder for folder in path.parents if not folder.exists()]  # the innermost first
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # something else lies in it by now, or it was never made
                folder.rmdir()
        raise


def _replace_directory(partial: Path, path: Path, before: tuple[int, int] | None) -> None:
    """Rename `path` aside, `partial` onto it, then remove what was there: a rename that fails
    loses neither."""
    aside = _partial(path)
    changed = UserError(f"{path}: another process wrote it meanwhile; it was left as it is")
    if _identity(path) != before:
        raise changed
    try:
        if before is not None and not _is_empty(path):  # an empty folder can be renamed onto
            _rename(path, aside)
        _rename(partial, path)
    except BaseException as error:  # Ctrl-C too
        if aside.exists() and not path.exists():
            _rename(aside, path)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise changed from None
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _rename(source: Path, target: Path) -> None:
    """os.replace, also between mounts of one file system and layers of an overlay. The folder is
    made again if a write beside this one had made it, failed and removed it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = target.with_name(_name())
        shutil.move(source, near)
        os.replace(near, target)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a folder from another one of the same name; None: there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _partial(path: Path) -> Path:
    """An unused path on the file system of `path`, whose folder exists."""
    folder = path.parent
    if PROJECT.is_file() and Path(os.path.abspath(path)).is_relative_to(Path.cwd()):
        try:
            PARTIALS.mkdir(parents=True, exist_ok=True)
            if PARTIALS.stat().st_dev == folder.stat().st_dev and os.access(PARTIALS, os.W_OK):
                folder = PARTIALS
        except OSError:  # beside the target then
            pass
    _remove_dead(folder)
    return folder / _name()


def _name() -> str:
    return f".partial-{HOST}-{os.getpid()}-{next(_NUMBERS)}.tmp"  # torch.save needs an ending


def _remove_dead(folder: Path) -> None:
    """Remove what processes left that were killed."""
    for path in folder.glob(".partial-*-*-*"):
        host, pid = path.name.split("-")[1:3]
        if pid.isdigit() and (_ended(int(pid)) if host == HOST else _old(path)):
            with suppress(OSError):  # another user's, in a folder such as /tmp
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > FOREIGN_SECONDS
    except FileNotFoundError:
        return False

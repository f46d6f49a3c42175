"""Resume state of a long stage, kept outside DVC's outputs.

`persist: true` would switch DVC's run cache off and warm-start every sweep point from
another one's weights. Instead the state lives in
    $DVC_ROOT/.scratch/<stage>-<mark>/
DVC_ROOT is the main repository even in `--temp` and queued runs, whose own folders vanish
on failure. The mark says whose work it is; what lies in the folder is the stage's own
business (pipeline.training.checkpoint, pipeline.descriptions.answer_log).
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.common.errors import UserError


@contextmanager
def locked(stage: str, mark: str) -> Iterator[Path]:
    """The folder of this stage and fingerprint, held by one process at a time.

    Raises:
        UserError: another process is at the same work (for instance the orphan of a killed
            `dvc repro`).
    """
    path = folder(stage, mark)
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{path}: another process is running this very {stage}; wait for it or stop it"
        ) from None
    try:
        yield path
    finally:
        lock.release()


def folder(stage: str, mark: str) -> Path:
    """Where the state of this stage and fingerprint lies, if there is one."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / f"{stage}-{mark}"


def clear(path: Path) -> None:
    """Forget the state, once the stage's outputs are written."""
    shutil.rmtree(path, ignore_errors=True)


def loaded_code() -> list[Path]:
    """The files of this project that this process has imported, for fingerprints."""
    ours = [m for name, m in sys.modules.items() if name.split(".")[0] in ("pipeline", "stages")]
    entry = sys.modules["__main__"]  # the stage itself, when run as `python -m stages.<name>`
    spec = getattr(entry, "__spec__", None)
    if spec is not None and spec.name.startswith("stages."):
        ours.append(entry)
    return sorted({Path(module.__file__) for module in ours if module.__file__})

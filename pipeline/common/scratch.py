"""Resume state of a long stage, kept outside DVC's outputs.

`persist: true` would switch DVC's run cache off and warm-start every sweep point from
another one's weights. Instead the state lives in
    $DVC_ROOT/.scratch/<stage>-<fingerprint>/
DVC_ROOT is the main repository even in `--temp` and queued runs, whose own folders vanish
on failure. The fingerprint is a hash of all that decides the work; what is in the folder is up
to the stage (pipeline.training.checkpoint, pipeline.descriptions.answer_log).
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.locks import held


@contextmanager
def locked(stage: str, fingerprint: str) -> Iterator[Path]:
    """The folder of this stage and fingerprint, held by one process at a time.

    Raises:
        UserError: another process does the same work (for instance the orphan of a killed
            `dvc repro`).
    """
    path = folder(stage, fingerprint)
    busy = f"{path}: another process is running this very {stage}; wait for it or stop it"
    with held(path.with_name(f"{path.name}.lock"), busy):
        path.mkdir(parents=True, exist_ok=True)
        yield path


def folder(stage: str, fingerprint: str) -> Path:
    """Where the state of this stage and fingerprint is stored, if there is one."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / f"{stage}-{fingerprint}"


def clear(path: Path) -> None:
    """Delete the state, once the stage's outputs are written."""
    shutil.rmtree(path, ignore_errors=True)


def loaded_code() -> list[Path]:
    """The files of this project that this process has imported, for fingerprints."""
    modules = [m for name, m in sys.modules.items() if name.split(".")[0] in ("pipeline", "stages")]
    main_module = sys.modules["__main__"]  # the stage itself, when run as `python -m stages.<name>`
    spec = getattr(main_module, "__spec__", None)
    if spec is not None and spec.name.startswith("stages."):
        modules.append(main_module)
    return sorted({Path(module.__file__) for module in modules if module.__file__})

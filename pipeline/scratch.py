"""Resume state of a long stage, kept outside DVC's outputs.

`persist: true` would switch DVC's run cache off and warm-start every sweep point from
another one's weights. Instead the state lives in
    $DVC_ROOT/.scratch/<stage>-<fingerprint>/
DVC_ROOT is the main repository even in `--temp` and queued runs, whose own folders vanish
on failure. The fingerprint covers params, inputs and code: anything else starts afresh.
"""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from filelock import FileLock, Timeout

from pipeline.atomic import replacing_file
from pipeline.errors import UserError

SAMPLED_BLOCKS, BLOCK = 64, 1 << 20


def fingerprint(params: Any, inputs: Iterable[Path]) -> str:
    """sha256 (16 hex digits) over params, input files, this package's loaded code and torch.

    Files over 64 MiB are sampled at 64 evenly spaced blocks of 1 MiB besides their size: a
    memory-mapped image file of 100 GB must not be read whole to find a checkpoint.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    digest.update(f"{torch.__version__} {torch.get_num_threads()}".encode())
    for path in [*sorted(inputs), *_loaded_code()]:
        digest.update(str(path.name).encode())
        _hash_file(path, digest)
    return digest.hexdigest()[:16]


@contextmanager
def locked(stage: str, mark: str) -> Iterator[Path]:
    """The folder of this stage and fingerprint, held by one process at a time.

    Raises:
        UserError: another process is at the same work (for instance the orphan of a killed
            `dvc repro`).
    """
    root = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch"
    folder = root / f"{stage}-{mark}"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / f"{stage}-{mark}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another process is running this very {stage}; wait for it or stop it"
        ) from None
    try:
        yield folder
    finally:
        lock.release()


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state atomically."""
    buffer = io.BytesIO()  # torch's own writer hides a full disk behind an internal error
    torch.save(state, buffer)
    with replacing_file(folder / "state.pt") as partial:
        partial.write_bytes(buffer.getbuffer())


def load_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The state, or None if there is none. Never runs code from the file.

    Raises:
        UserError: the file is damaged or holds more than tensors and plain values.
    """
    path = folder / "state.pt"
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError):
        raise UserError(f"{path}: not a resume state; delete it to start afresh") from None


def clear(folder: Path) -> None:
    """Forget the state, once the stage's outputs are written."""
    shutil.rmtree(folder, ignore_errors=True)


def _loaded_code() -> list[Path]:
    ours = [m for name, m in sys.modules.items() if name.split(".")[0] in ("pipeline", "stages")]
    entry = sys.modules["__main__"]  # the stage itself, when run as `python -m stages.<name>`
    spec = getattr(entry, "__spec__", None)
    if spec is not None and spec.name.startswith("stages."):
        ours.append(entry)
    return sorted({Path(module.__file__) for module in ours if module.__file__})


def _hash_file(path: Path, digest: Any) -> None:
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        if size <= SAMPLED_BLOCKS * BLOCK:
            digest.update(file.read())
            return
        for block in range(SAMPLED_BLOCKS):
            file.seek((size - BLOCK) * block // (SAMPLED_BLOCKS - 1))
            digest.update(file.read(BLOCK))

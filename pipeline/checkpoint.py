"""Resume state of a training: whose it is, and tensors on disk that never run code.

The fingerprint covers params, inputs and code: anything else starts afresh.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from pipeline.atomic import replacing_file
from pipeline.errors import UserError
from pipeline.scratch import loaded_code

SAMPLED_BLOCKS, BLOCK = 64, 1 << 20


def origins(params: Any, inputs: Iterable[Path], device: torch.device) -> dict[str, str]:
    """What a state comes from, each by name with its sha256: params, input files, this package's
    loaded code, torch and device.

    Files over 64 MiB are sampled at 64 evenly spaced blocks of 1 MiB besides their size: a
    memory-mapped image file of 100 GB must not be read whole to find a checkpoint.
    """
    hashes = {
        "params": _sha256(json.dumps(params, sort_keys=True).encode()),
        "torch": _sha256(f"{torch.__version__} {_arithmetic(device)}".encode()),
    }
    for path in [*sorted(inputs), *loaded_code()]:
        hashes["/".join(path.parts[-2:])] = _hash_file(path)
    return hashes


def fingerprint(hashes: Mapping[str, str]) -> str:
    """16 hex digits over `origins`."""
    return _sha256(json.dumps(hashes, sort_keys=True).encode())[:16]


def _arithmetic(device: torch.device) -> str:
    """What the last bits of a result depend on: the GPU, or how many threads share a sum."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.get_num_threads()}"


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


def _hash_file(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= SAMPLED_BLOCKS * BLOCK:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for block in range(SAMPLED_BLOCKS):
            file.seek((size - BLOCK) * block // (SAMPLED_BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

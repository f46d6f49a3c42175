"""The origins of a result as hashes: parameters, input files, code, torch and device.

A resume state and the verdicts of a part of an evaluation are used only where all of it is the
same.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.clip.device import arithmetic
from pipeline.common.scratch import loaded_code

SAMPLED_BLOCKS, BLOCK = 64, 1 << 20


def hash_origins(params: Any, inputs: Iterable[Path], device: torch.device) -> dict[str, str]:
    """What a state comes from, each by name with its sha256: params, input files, this package's
    loaded code, torch and device.

    Files over 64 MiB are sampled at 64 evenly spaced blocks of 1 MiB besides their size: a
    memory-mapped image file of 100 GB must not be read whole to find a checkpoint.
    """
    hashes = {
        "params": _sha256(json.dumps(params, sort_keys=True).encode()),
        "torch": _sha256(f"{torch.__version__} {arithmetic(device)}".encode()),
    }
    hashes |= {path.as_posix(): _hash_file(path) for path in inputs}
    # by the last two parts of the path: an experiment in its own folder has the same names
    hashes |= {"/".join(path.parts[-2:]): _hash_file(path) for path in loaded_code()}
    return hashes


def fingerprint(hashes: Mapping[str, str]) -> str:
    """16 hex digits over `hash_origins`."""
    return _sha256(json.dumps(hashes, sort_keys=True).encode())[:16]


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

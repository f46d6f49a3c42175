"""The cost of a stage, stored with the resume states and not among DVC's outputs: times are never
the same twice.

    $DVC_ROOT/.scratch/costs/<first 16 hex digits of the sha256 of what the stage wrote>.json
An output that came out of DVC's cache on another machine has no such file there.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from pipeline.clip.precision import Precision
from pipeline.common.errors import UserError
from pipeline.common.tables import read_json, write_json


class Cost(NamedTuple):
    """What a stage cost.

    stage: as DVC calls it; device: its name; threads: of torch on the CPU; peak_memory_bytes: of
    torch on CUDA, else of the process; images, images_per_second: what was trained on or judged,
    per model and epoch, by all `processes`; work: see `cost/work.py`, by precision; flop: of all
    that, None where it is not known; matrix_flop_per_second: of the device, by precision; share:
    how much of the time the same FLOPs would take at those speeds. Memory, energy, work, flop and
    share are those of the process that wrote them and of its device. What a training spends on
    validations is in its memory alone.
    """

    stage: str
    device: str
    threads: int
    processes: int
    seconds: float
    images: int
    images_per_second: float
    peak_memory_bytes: int
    energy_joules: float | None
    work: dict[Precision, dict[str, int]]
    flop: float | None
    matrix_flop_per_second: dict[Precision, float]
    share: float | None


class Training(NamedTuple):
    """What only a training tells. seconds_per_epoch: wall time of the optimiser loop without
    validations, from the steps of this process (`steps_timed`, fewer than all in a resumed run)."""

    method: str
    title: str
    seconds_per_epoch: float
    steps_timed: int


def write_cost(cost: Cost, output: Path, training: Training | None = None) -> None:
    """Write it for the stage's output, a file or a folder, below $DVC_ROOT (the main repository,
    even in `dvc exp run --temp`)."""
    values = cost._asdict() | (training._asdict() if training else {})
    write_json(_path(output, Path(os.environ.get("DVC_ROOT", "."))), values)


def read_cost(output: Path, root: Path) -> dict[str, Any] | None:
    """The fields of `Cost` (and `Training`) for an output, or None where it was not computed in
    the repository `root`.

    Raises:
        UserError: the file is not JSON, or not what a stage cost.
    """
    path = _path(output, root)
    if not path.is_file():
        return None
    values = read_json(path)
    if isinstance(values, dict) and "stage" not in values:  # of an earlier version
        return values
    try:
        TypeAdapter(Cost).validate_python({name: values[name] for name in Cost._fields})
    except (ValidationError, LookupError, TypeError):
        raise UserError(f"{path}: not what a stage cost; delete it, it is only shown") from None
    return values


def _path(output: Path, root: Path) -> Path:
    return root / ".scratch" / "costs" / f"{_digest(output)[:16]}.json"


def _digest(output: Path) -> str:
    """sha256 of a file's bytes, or of the names and digests of a folder's files."""
    if output.is_dir():
        names = sorted(file.name for file in output.iterdir())
        listed = "".join(f"{name} {_digest(output / name)}\n" for name in names)
        return hashlib.sha256(listed.encode()).hexdigest()
    with output.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""One evaluation cut into parts for machines that share no process, only a file system.

`--shard i/n` attacks every n-th image (or call, see `outcomes.positions`) and writes a part to
    $DVC_ROOT/.scratch/parts/<set>/<text set>/<attack>/<epsilon>/<model>/<i>-of-<n>.safetensors
`--merge n` reads all n instead of attacking. A part says what it was made from: params, code,
data, torch and device must be the same.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.evaluation.interface import Outcome, Run, Settings, Targets
from pipeline.evaluation.outcomes import PER_IMAGE, merge, part_of, positions
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.results.files import EVALUATION

PLAIN = ["note", "judged", "largest_difference"]
ARRAYS = [name for name in Outcome._fields if name not in PLAIN]


class Shard(NamedTuple):
    """Part number `part`, from 1, of `parts`."""

    part: int
    parts: int


class Merge(NamedTuple):
    """All of `parts`."""

    parts: int


def read_shard(text: str) -> Shard:
    """Shard of "2/8".

    Raises:
        UserError: it is not i/n with 1 <= i <= n.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 1 <= shard.part <= shard.parts:
        raise UserError(f"--shard {text}: write i/n with i from 1 to n, e.g. 2/8")
    return shard


Cut = Shard | Merge | None
"""One part, all parts put together, or (None) an evaluation in one piece."""


def read_cut(shard: str | None, merge: int | None) -> Cut:
    """What `--shard` and `--merge` ask for.

    Raises:
        UserError: both are given, or the shard is not i/n.
    """
    if shard is not None and merge is not None:
        raise UserError("--shard and --merge: one of them; merge when all shards are there")
    if shard is not None:
        return read_shard(shard)
    return Merge(merge) if merge is not None else None


def cut_run(
    cut: Cut,
    run: Run,
    attack: ModuleType,
    folder: Path,
    origins: Mapping[str, str],
) -> Run:
    """`run` of `attack`, cut as asked for."""
    if isinstance(cut, Shard):
        return run_and_write_part(run, attack, file_of(folder, cut), cut, origins)
    if isinstance(cut, Merge):
        return run_from_parts(attack, folder, cut.parts, origins)
    return run


def folder_of(output: Path) -> Path:
    """The folder of the parts of one evaluation, which will be written to `output`."""
    root = Path(os.environ.get("DVC_ROOT", "."))
    return root / ".scratch/parts" / output.relative_to(EVALUATION)


def file_of(folder: Path, shard: Shard) -> Path:
    """The file of one part."""
    return folder / f"{shard.part}-of-{shard.parts}.safetensors"


def run_and_write_part(
    run: Run, attack: ModuleType, file: Path, shard: Shard, origins: Mapping[str, str]
) -> Run:
    """`run` on this shard's images alone, which writes `file`; the outcome it returns holds
    nothing of the other images.

    Args:
        origins: `hash_origins` of the evaluation.
    """

    def run_part(
        classifier: ZeroShotClassifier, targets: Targets, options: Section, settings: Settings
    ) -> Outcome:
        rows = positions(len(targets.labels), shard.parts, attack, settings.batch_size)
        part = rows[shard.part - 1]
        chosen, part_settings = part_of(targets, settings, part)
        outcome = run(classifier, chosen, options, part_settings)
        about = {
            "origins": json.dumps(origins, sort_keys=True),
            "numbers": json.dumps(chosen.numbers.tolist()),
            "plain": json.dumps({name: getattr(outcome, name) for name in PLAIN}),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing_file(file) as partial:
            partial.write_bytes(save({n: getattr(outcome, n) for n in ARRAYS}, about))
        return merge(targets, settings, [part], [outcome])

    return run_part


def run_from_parts(attack: ModuleType, folder: Path, count: int, origins: Mapping[str, str]) -> Run:
    """In place of an attack: the outcome that the parts of `count` shards have together.

    Raises (when called):
        UserError: a part is missing or damaged, or was made from something else.
    """

    def read_parts(
        _: ZeroShotClassifier, targets: Targets, __: Section, settings: Settings
    ) -> Outcome:
        rows = positions(len(targets.labels), count, attack, settings.batch_size)
        outcomes = [
            _read(file_of(folder, Shard(i, count)), targets.numbers[part], origins)
            for i, part in enumerate(rows, start=1)
        ]
        return merge(targets, settings, rows, outcomes)

    return read_parts


def _read(file: Path, numbers: np.ndarray, origins: Mapping[str, str]) -> Outcome:
    index, count = re.findall(r"\d+", file.stem)[-2:]
    again = f"run the evaluation with --shard {index}/{count} again"
    try:
        with safe_open(file, framework="np") as content:
            about: dict[str, Any] = content.metadata() or {}
            arrays = {name: content.get_tensor(name) for name in ARRAYS}
        part_origins, part_numbers, plain = (
            json.loads(about[k]) for k in ("origins", "numbers", "plain")
        )
    except FileNotFoundError:
        raise UserError(f"{file}: not found; {again}") from None
    except (SafetensorError, KeyError, ValueError, RecursionError):
        raise UserError(f"{file}: damaged; {again}") from None
    differing = sorted(
        n for n in {*part_origins, *origins} if part_origins.get(n) != origins.get(n)
    )
    if differing:
        raise UserError(f"{file}: made with other {', '.join(differing[:3])}; {again}")
    if part_numbers != numbers.tolist():
        raise UserError(f"{file}: of other images than this device would attack; {again}")
    fault = _fault(arrays, len(numbers))
    if fault:
        raise UserError(f"{file}: {fault}; {again}")
    return Outcome(**arrays, **plain)


def _fault(arrays: Mapping[str, np.ndarray], count: int) -> str:
    """What is wrong with the arrays of an outcome on `count` images; "" if nothing."""
    for name, values in arrays.items():
        if name in PER_IMAGE and values.shape != (count,):
            return f"{name} has the shape {values.shape}, not ({count},)"
        if name != "zero_gradient" and not np.isfinite(values).all():
            return f"{name} is not finite"
    return ""

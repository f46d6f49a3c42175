"""What DVC's lock files, of dvc.yaml and of stages/dvc.yaml, tell of the outputs on disk: who made
them, from which inputs, with which params.

reports/metrics.json holds no trace of the model that was measured; the lock files do, as the hash
of every input of every stage.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml.error import YAMLError

from pipeline.clip.folders import BASE, BASE_MODEL, MODEL, MODELS, clip_folder
from pipeline.common.bounded_yaml import load_bounded
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section
from pipeline.results.files import EVALUATION, METRICS

LOCK, MADE_FROM = Path("dvc.lock"), Path("stages/dvc.lock")
FINETUNE = "stages/dvc.yaml:finetune"  # as `dvc repro` is given it


class Item(Section, extra="ignore"):
    """A dependency or output of a stage."""

    path: str
    md5: str | None = None


class Stage(Section, extra="ignore"):
    """A stage as a lock file has it. params: file of parameters -> dotted key -> value."""

    deps: list[Item] = []
    outs: list[Item] = []
    params: dict[str, dict[str, Any]] = {}


class LockFile(Section, extra="ignore"):
    """dvc.lock or stages/dvc.lock."""

    stages: dict[str, Stage]


class Lock:
    """The stages of all lock files; one is looked up by its output, since names of former stages
    stay in them."""

    def __init__(self, stages: Iterable[Stage]):
        self._makers = {out.path: stage for stage in stages for out in stage.outs}

    def params(self, output: Path) -> dict[str, Any]:
        """The values of params.yaml that `output` was made with, by dotted key."""
        return self._maker(output).params.get(PARAMS_FILE.name, {})

    def output_hash(self, output: Path) -> str:
        """Hash of `output` as its stage wrote it."""
        return self._hash(output, "outs", output)

    def input_hash(self, output: Path, dependency: Path) -> str:
        """Hash of `dependency` as the stage that made `output` read it."""
        return self._hash(output, "deps", dependency)

    def _maker(self, output: Path) -> Stage:
        if output.as_posix() not in self._makers:
            raise UserError(f"{LOCK}, {MADE_FROM}: no stage has made {output}; run `dvc repro`")
        return self._makers[output.as_posix()]

    def _hash(self, output: Path, kind: Literal["deps", "outs"], path: Path) -> str:
        stage = self._maker(output)
        for item in stage.deps if kind == "deps" else stage.outs:
            if item.path == path.as_posix():
                return str(item.md5)
        raise UserError(f"{LOCK}, {MADE_FROM}: {output} was made without {path}; run `dvc repro`")


def read_lock() -> Lock:
    """The lock files of the current folder.

    Raises:
        UserError: one is missing or broken.
    """
    return Lock([stage for file in (LOCK, MADE_FROM) for stage in _stages(file)])


def _stages(file: Path) -> list[Stage]:
    try:
        lock = LockFile.model_validate(load_bounded(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{file}: not found; `dvc repro` makes it") from None
    except (OSError, YAMLError, ValueError):  # the last is pydantic's and UnicodeDecodeError, too
        raise UserError(f"{file}: not a lock file of DVC; run `dvc repro`") from None
    return list(lock.stages.values())


def digest(path: Path) -> str:
    """DVC's hash of a file or folder: the md5 of its bytes, or of the list of its files' md5s."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    names = sorted((file.relative_to(path).as_posix(), digest(file)) for file in files)
    listing = [{"md5": md5, "relpath": name} for name, md5 in names]
    return hashlib.md5(json.dumps(listing).encode()).hexdigest() + ".dir"


def check_measured(lock: Lock, folders: Mapping[str, Iterable[Path]]) -> None:
    """Raise UserError unless reports/metrics.json tells of data/models/finetuned/clip.

    It has to be what the report stage made of data/evaluation as it is, and every folder of a
    model there has to be measured on that model as it is.

    Args:
        folders: of data/evaluation, by model.
    """
    model, base = digest(MODEL), MODELS / BASE
    if lock.output_hash(MODEL) != model:
        raise UserError(f"{MODEL}: not what `dvc repro {FINETUNE}` made last; run `dvc repro`")
    if not base.is_dir() or lock.output_hash(base) != digest(base):
        raise UserError(f"{base}: not what its stage made last; run `dvc repro`")
    if lock.input_hash(MODEL, BASE_MODEL) != digest(BASE_MODEL):
        raise UserError(f"{MODEL}: fine-tuned from another {BASE_MODEL}; run `dvc repro`")
    for name, of_model in folders.items():
        weights, current = clip_folder(name), digest(clip_folder(name))
        for folder in of_model:
            if lock.input_hash(folder, weights) != current:
                raise UserError(
                    f"{folder}: measured on another model than {weights}; run `dvc repro`"
                )
    unchanged = lock.output_hash(METRICS) == digest(METRICS)
    if not unchanged or lock.input_hash(METRICS, EVALUATION) != digest(EVALUATION):
        raise UserError(
            f"{METRICS}: not what the report stage makes of {EVALUATION} as it is, so that it may "
            "tell of another model; run `dvc repro report`"
        )

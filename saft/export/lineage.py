"""What dvc.lock tells of the outputs on disk: who made them, from which inputs, with which params.

reports/metrics.json holds no trace of the model that was measured; dvc.lock does, as the hash of
every input of every stage.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.clip.folders import BASE_MODEL, MODEL
from pipeline.common.errors import UserError
from pipeline.results.files import EVALUATION, METRICS

LOCK = Path("dvc.lock")


class Lock:
    """dvc.lock; a stage is looked up by its output, since names of former stages stay in it."""

    def __init__(self, stages: dict[str, Any]):
        self._makers = {
            out["path"]: stage for stage in stages.values() for out in stage.get("outs", [])
        }

    def params(self, output: Path) -> dict[str, Any]:
        """The values of params.yaml that `output` was made with, by dotted key."""
        return self._maker(output).get("params", {}).get("params.yaml", {})

    def output_hash(self, output: Path) -> str:
        """Hash of `output` as its stage wrote it."""
        return self._hash(output, "outs", output)

    def input_hash(self, output: Path, dependency: Path) -> str:
        """Hash of `dependency` as the stage that made `output` read it."""
        return self._hash(output, "deps", dependency)

    def _maker(self, output: Path) -> dict[str, Any]:
        if output.as_posix() not in self._makers:
            raise UserError(f"{LOCK}: no stage has made {output}; run `dvc repro`")
        return self._makers[output.as_posix()]

    def _hash(self, output: Path, kind: Literal["deps", "outs"], path: Path) -> str:
        for item in self._maker(output).get(kind, []):
            if item["path"] == path.as_posix():
                return str(item.get("md5"))
        raise UserError(f"{LOCK}: {output} was made without {path}; run `dvc repro`")


def read_lock() -> Lock:
    """dvc.lock of the current folder.

    Raises:
        UserError: it is missing or broken.
    """
    try:
        stages = YAML(typ="safe", pure=True).load(LOCK.read_text(encoding="utf-8"))["stages"]
        return Lock(dict(stages))
    except FileNotFoundError:
        raise UserError(f"{LOCK}: not found; `dvc repro` makes it") from None
    except (YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError, AttributeError):
        raise UserError(f"{LOCK}: not a lock file of DVC; run `dvc repro`") from None


def digest(path: Path) -> str:
    """DVC's hash of a file or folder: the md5 of its bytes, or of the list of its files' md5s."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    names = sorted((file.relative_to(path).as_posix(), digest(file)) for file in files)
    listing = [{"md5": md5, "relpath": name} for name, md5 in names]
    return hashlib.md5(json.dumps(listing).encode()).hexdigest() + ".dir"


def check_measured(lock: Lock, folders: Iterable[Path]) -> None:
    """Raise UserError unless reports/metrics.json tells of data/model.

    It has to be what the report stage made of data/evaluation as it is, and every one of
    `folders`, of data/evaluation, has to be measured on data/model as it is.
    """
    model = digest(MODEL)
    if lock.output_hash(MODEL) != model:
        raise UserError(f"{MODEL}: not what `dvc repro finetune` made last; run `dvc repro`")
    if lock.input_hash(MODEL, BASE_MODEL) != lock.output_hash(BASE_MODEL):
        raise UserError(f"{MODEL}: fine-tuned from another {BASE_MODEL}; run `dvc repro`")
    for folder in folders:
        if lock.input_hash(folder, MODEL) != model:
            raise UserError(f"{folder}: measured on another model than {MODEL}; run `dvc repro`")
    unchanged = lock.output_hash(METRICS) == digest(METRICS)
    if not unchanged or lock.input_hash(METRICS, EVALUATION) != digest(EVALUATION):
        raise UserError(
            f"{METRICS}: not what the report stage makes of {EVALUATION} as it is, so that it may "
            "tell of another model; run `dvc repro report`"
        )

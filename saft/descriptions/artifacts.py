"""Description artifacts as files: read and checked, and written as the merge of several."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError
from pipeline.common.tables import read_json, read_table, write_json, write_table
from pipeline.descriptions.artifact import DESCRIPTIONS, SCHEMA, sentence_faults
from pipeline.descriptions.captions import read_captions, write_captions
from pipeline.descriptions.sources import PROVENANCE
from saft.descriptions.merging import Merged

STAGE = "stages/dvc.yaml:describe"  # as DVC names it


class Artifact(NamedTuple):
    """An artifact as read: the Parquet file, class id -> its rows, which have an `image` where
    captions.parquet says that they are of one, and provenance.json, None: not there."""

    path: Path
    class_rows: dict[str, list[dict[str, Any]]]
    provenance: dict[str, Any] | None


def read(path: Path) -> Artifact:
    """The artifact at `path`, a folder or the Parquet file.

    Raises:
        UserError: it is missing, of another schema, has an empty cell or no row; or in its
            folder provenance.json is not a JSON object, or captions.parquet not of its sentences.
    """
    file = path / DESCRIPTIONS.name if path.is_dir() else path
    if not file.exists():
        raise UserError(
            f"{file}: not found; `dvc pull {STAGE}` fetches what your team made, "
            f"`dvc repro {STAGE}` makes it"
        )
    table = read_table(file, SCHEMA, sentence_faults)
    class_rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_captions(file, table.to_pylist()):
        class_rows.setdefault(row["class_id"], []).append(row)
    return Artifact(file, class_rows, _provenance(file.with_name(PROVENANCE.name)))


def read_inputs(inputs: Sequence[Path], output: Path) -> list[Artifact]:
    """The artifacts to merge.

    Raises:
        UserError: there are fewer than two, one cannot be read, or `output` is taken.
    """
    if len(inputs) < 2:
        raise UserError("merge: needs two inputs or more")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output}: is there already and not an empty folder; choose another")
    return [read(path) for path in inputs]


def write_merged(output: Path, artifacts: Sequence[Artifact], merged: Merged) -> None:
    """Write an artifact whose provenance.json tells of all inputs, as a whole.

    Raises:
        UserError: `output` cannot be written.
    """
    columns = {name: [row[name] for row in merged.rows] for name in SCHEMA.names}
    provenance: dict[str, Any] = {"merged": [_summary(artifact) for artifact in artifacts]}
    if merged.conflicts:
        provenance |= {"prefer": "first", "preferred_classes": merged.preferred}
    try:
        with replacing_directory(output.resolve()) as folder:
            write_table(folder / DESCRIPTIONS.name, columns, SCHEMA, sentence_faults)
            write_captions(folder, merged.rows)
            write_json(folder / PROVENANCE.name, provenance)
    except OSError as error:
        reason = f"cannot be written: {error.strerror}; nothing was written"
        raise UserError(f"{output}: {reason}") from None


def _provenance(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    provenance = read_json(file)
    if not isinstance(provenance, dict):
        raise UserError(f"{file}: expected a JSON object")
    return provenance


def _summary(artifact: Artifact) -> dict[str, Any]:
    """What the provenance of a merge says of one input."""
    return {
        "sha256": hashlib.sha256(artifact.path.read_bytes()).hexdigest(),
        "classes": len(artifact.class_rows),
        "sentences": sum(map(len, artifact.class_rows.values())),
        "provenance": artifact.provenance,
    }

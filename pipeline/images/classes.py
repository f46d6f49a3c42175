"""The class table of an image set: data/classes/<name>.parquet, row number = label.

A class is identified by `class_id` (a wnid where there is one); `name` is for prompts and
people only and need not be unique. A column `gloss` says what the classes mean, for the
questions to a language model; a table in which none has a gloss is without it. The table also
carries the templates that belong to the data set itself, which the text sets of `embed.texts`
may name.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from pipeline.common import rows
from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError
from pipeline.common.params import Template
from pipeline.common.tables import read_table, write_table

CLASSES = Path("data/classes")
# copies of the tables of the sets that are evaluated, and that the soundness checks attack
EVALUATED, CHECKED = Path("data/evaluated_classes"), Path("data/checked_classes")
CLASS_SCHEMA = pa.schema([("label", pa.int32()), ("class_id", pa.string()), ("name", pa.string())])
GLOSS_SCHEMA = CLASS_SCHEMA.append(pa.field("gloss", pa.string()))
TEMPLATES = b"templates"
NO_SET = "none"  # where a key may name no image set; data/classes/none.parquet is in git


def class_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of a class table; see `pipeline.common.rows`."""
    yield from rows.complete(table)
    if table["label"].to_pylist() != list(range(len(table))):
        yield f"labels are not 0..{len(table) - 1} in order"
    yield from rows.not_blank(table, "class_id")
    yield from rows.unique(table, ["class_id"])
    yield from rows.not_blank(table, "name")


@dataclass(frozen=True)
class ClassEntry:
    """A class: its identity, the display name that goes into prompts, and what it means, as far
    as its class table says so ("": it does not)."""

    class_id: str
    name: str
    gloss: str = ""


def read_classes(name: str, folder: Path = CLASSES) -> list[ClassEntry]:
    """The class table of set `name`, in label order."""
    path = folder / f"{name}.parquet"
    table = read_table(path, _schema(path), class_faults)
    return [
        ClassEntry(row["class_id"], row["name"], row.get("gloss", "")) for row in table.to_pylist()
    ]


def _schema(path: Path) -> pa.Schema:
    """The schema that a class table must have: with `gloss` where it has such a column."""
    try:
        return GLOSS_SCHEMA if "gloss" in pq.read_schema(path).names else CLASS_SCHEMA
    except (OSError, pa.ArrowInvalid):  # reading the table says what is wrong with it
        return CLASS_SCHEMA


def read_own_templates(name: str, folder: Path = CLASSES) -> list[str]:
    """The templates that belong to the data set of set `name`; [] where it has none.

    Raises:
        UserError: the table is missing or damaged, or they are no templates.
    """
    path = folder / f"{name}.parquet"
    metadata = read_table(path, _schema(path), class_faults).schema.metadata or {}
    try:
        return TypeAdapter(list[Template]).validate_json(metadata.get(TEMPLATES, b"[]"))
    except ValidationError:
        again = f"run `dvc repro -f stages/dvc.yaml:prepare@{name}`"
        raise UserError(f"{path}: its own templates are no list of templates; {again}") from None


def fill_templates(templates: Sequence[str], classes: Sequence[ClassEntry]) -> list[list[str]]:
    """The texts of each class, one for each template; {} in a template is the class name."""
    return [
        [template.replace("{}", class_entry.name) for template in templates]
        for class_entry in classes
    ]


def write_classes(path: Path, classes: Sequence[ClassEntry], templates: Sequence[str]) -> None:
    """Write the class table, with the data set's own templates if it has any."""
    columns: dict[str, list[Any]] = {
        "label": list(range(len(classes))),
        "class_id": [class_entry.class_id for class_entry in classes],
        "name": [class_entry.name for class_entry in classes],
    }
    schema = CLASS_SCHEMA
    if any(class_entry.gloss for class_entry in classes):
        schema, columns["gloss"] = GLOSS_SCHEMA, [class_entry.gloss for class_entry in classes]
    if templates:
        schema = schema.with_metadata({TEMPLATES: json.dumps(list(templates))})
    write_table(path, columns, schema, class_faults)


def copy_classes(name: str, folder: Path) -> None:
    """Copy the class table of set `name` to `folder`.

    Raises:
        UserError: it is missing or damaged.
    """
    read_classes(name)
    source = CLASSES / f"{name}.parquet"
    with replacing_file(folder / source.name) as partial:
        shutil.copyfile(source, partial)


def check_labels(labels: np.ndarray, classes: int, where: str) -> None:
    """Raise UserError unless every label is in 0..classes-1."""
    bad = labels[(labels < 0) | (labels >= classes)]
    if len(bad):
        raise UserError(f"{where}: label {bad[0]} is out of range, there are {classes} classes")

"""Confusable classes: for each class those that the base model confuses it with.

`data/confusions/<name>.parquet` holds them, so that describing needs neither the image set nor a
CLIP. `none` is in git, without a row: then the describe stage depends on no model, and a change
of the base model re-runs no description.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from pipeline.common import rows as table_rows
from pipeline.common.bounds import Count
from pipeline.common.errors import UserError
from pipeline.common.options import check_defined
from pipeline.common.params import PARAMS_FILE, Section, Template
from pipeline.common.tables import read_table
from pipeline.images.classes import ClassEntry

FOLDER = Path("data/confusions")
NO_CONFUSIONS = "none"
SCHEMA = pa.schema(
    [
        ("class_id", pa.string()),
        ("rank", pa.int32()),
        ("confused_with", pa.string()),  # id of the other class
        ("score", pa.float32()),  # cosine of the texts, or mean probability on the class's images
    ]
)


def confusion_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of a file of confusable classes, of which `none` has none; see
    `pipeline.common.rows`."""
    if table.num_rows:
        yield from table_rows.complete(table)
    yield from table_rows.counted(table, "class_id", "rank")
    yield from table_rows.unique(table, ["class_id", "confused_with"])
    for row, values in enumerate(table.select(["class_id", "confused_with"]).to_pylist()):
        if values["class_id"] == values["confused_with"]:
            yield f"row {row}: class '{values['class_id']}' is confused with itself"


class TextConfusionParams(Section):
    """One entry of `confusions.text` of params.yaml, where every key is explained."""

    classes_per_class: int = Field(ge=1, le=20)
    template: Template


class ImageConfusionParams(TextConfusionParams):
    """One entry of `confusions.images` of params.yaml, where every key is explained."""

    images_per_class: Count | None


class ConfusionsParams(Section):
    """Section `confusions` of params.yaml: entries by name, a stage for each."""

    text: dict[str, TextConfusionParams]
    images: dict[str, ImageConfusionParams]


@dataclass(frozen=True)
class Confusions:
    """A set of confusable classes, as questions name them.

    others_of: id of a class to describe -> the classes that it is confused with, most confused
    first, as the class table has them; empty for the set `none`.
    """

    name: str = NO_CONFUSIONS
    others_of: Mapping[str, Sequence[ClassEntry]] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """What provenance.json says of them; nothing for the set `none`."""
        if not self.others_of:
            return {}
        most = max(map(len, self.others_of.values()))
        return {
            "confusions": self.name,
            "confusions_per_class": most,
            "confusions_sha256": self.digest(),
        }

    def digest(self) -> str:
        """SHA-256 of who is confused with whom, by class ids, most confused first: the same
        whatever the scores, the names and the order of the classes."""
        ids_of = {
            class_id: [other.class_id for other in others]
            for class_id, others in self.others_of.items()
        }
        return hashlib.sha256(json.dumps(ids_of, sort_keys=True).encode()).hexdigest()


def in_both(entries: Mapping[str, Collection[str]]) -> list[str]:
    """A line for each name of section `confusions` that is in text and in images."""
    return [
        f"confusions: '{name}' is in text and in images, which share a file; rename one"
        for name in entries["text"]
        if name in entries["images"]
    ]


def check_names(entries: Mapping[str, Collection[str]], chosen: str) -> None:
    """Check the names of section `confusions` and the one that is asked about.

    Args:
        entries: "text" and "images" -> the names below them.
        chosen: describe.confusions.

    Raises:
        UserError: one of the two is missing, a name is in both, or `chosen` in neither.
    """
    missing = [kind for kind in ("text", "images") if kind not in entries]
    if missing:
        raise UserError(f"{PARAMS_FILE}: 'confusions.{missing[0]}' is missing")
    for line in in_both(entries)[:1]:
        raise UserError(f"{PARAMS_FILE}: {line}")
    known = [NO_CONFUSIONS, *entries["text"], *entries["images"]]
    check_defined([chosen], known, "describe.confusions")


def output_file(name: str) -> Path:
    """Where the set `name` is written.

    Raises:
        UserError: the name stands for none.
    """
    if name == NO_CONFUSIONS:
        raise UserError(f"params.yaml: confusions: '{name}' stands for none; choose another name")
    return FOLDER / f"{name}.parquet"


def to_columns(
    classes: Sequence[ClassEntry], confused: Sequence[Sequence[tuple[int, float]]]
) -> dict[str, list[Any]]:
    """Columns of SCHEMA.

    Args:
        confused: per class (label of the other class, score), most confused first.

    Raises:
        UserError: a class has none.
    """
    rows = [
        (class_entry.class_id, rank, classes[label].class_id, score)
        for class_entry, others in zip(classes, confused, strict=True)
        for rank, (label, score) in enumerate(others)
    ]
    alone = {class_entry.class_id for class_entry in classes} - {row[0] for row in rows}
    if alone:
        raise UserError(
            f"confusions: class '{min(alone)}' cannot be contrasted, no class of the set has "
            "another name; describe.dataset needs at least two classes of different names"
        )
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA.names)
    return {name: list(column) for name, column in zip(SCHEMA.names, columns, strict=True)}


def read_confusions(
    name: str, classes: Sequence[ClassEntry], table: Sequence[ClassEntry]
) -> Confusions:
    """The set `name` for the classes to describe.

    Args:
        table: the whole class table, which names the other classes and says what they mean.

    Raises:
        UserError: no such file, a class has no confusable class in it (of `none` none has), or one
            that the class table does not have.
    """
    path = FOLDER / f"{name}.parquet"
    again = "run `dvc repro stages/dvc.yaml:describe`, which makes it from the class table"
    entry_of = {class_entry.class_id: class_entry for class_entry in table}
    others_of: dict[str, list[ClassEntry]] = {}
    for row in read_table(path, SCHEMA, confusion_faults).to_pylist():
        for class_id in (row["class_id"], row["confused_with"]):
            if class_id not in entry_of:
                raise UserError(f"{path}: class '{class_id}' is not in the class table; {again}")
        others_of.setdefault(row["class_id"], []).append(entry_of[row["confused_with"]])
    ids = [class_entry.class_id for class_entry in classes]
    missing = [class_id for class_id in ids if class_id not in others_of]
    if (others_of or name != NO_CONFUSIONS) and missing:
        raise UserError(
            f"{path}: no confusable class for class '{missing[0]}' ({len(missing)} classes in "
            f"all); {again}"
        )
    return Confusions(name, {class_id: others_of[class_id] for class_id in ids if others_of})

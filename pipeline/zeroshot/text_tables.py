"""Texts of classes as strings, before any model encodes them:

    data/texts/<text set>/<image set>.parquet   templates filled with the names of its classes
    data/texts/descriptions/kept.parquet        the kept descriptions, K for each described class
A text set is a name in `embed.texts` (templates), or "descriptions".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.common import rows
from pipeline.common.errors import UserError
from pipeline.common.params import Section, validate
from pipeline.common.tables import read_table, write_table

TEXTS = Path("data/texts")
DESCRIPTIONS = "descriptions"  # the text set that is not in embed.texts
TEMPLATE = "template"  # the text set that methods without descriptions train on
SAME = "same"  # evaluate.attacker: the attacker sees the texts that classify
KEPT = TEXTS / DESCRIPTIONS / "kept.parquet"
METADATA = b"text set"
SCHEMA = pa.schema([("class_id", pa.string()), ("slot", pa.int32()), ("text", pa.string())])


def text_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of a table of texts, with embeddings or without: every class has
    the slots 0..K-1, each once and in order. See `pipeline.common.rows`."""
    yield from rows.complete(table)
    yield from rows.counted(table, "class_id", "slot")
    yield from rows.equally_many(table, "class_id")


class TextOrigin(Section):
    """What a file of texts or embeddings says of itself."""

    name: str
    templates: list[str]


class TextTable(NamedTuple):
    """The texts of some classes: text `texts[i]` is number `slots[i]` of class `class_ids[i]`;
    name: the text set; templates: what it was filled from, empty for descriptions."""

    name: str
    templates: list[str]
    class_ids: list[str]
    slots: list[int]
    texts: list[str]

    @property
    def columns(self) -> dict[str, Any]:
        """Those of SCHEMA."""
        return {"class_id": self.class_ids, "slot": self.slots, "text": self.texts}

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """Name and templates, as a file's schema carries them."""
        origin = {"name": self.name, "templates": self.templates}
        return {METADATA: json.dumps(origin).encode()}

    def of_classes(self, class_ids: Sequence[str]) -> "TextTable":
        """The rows of these classes alone."""
        chosen = set(class_ids)
        rows = [i for i, class_id in enumerate(self.class_ids) if class_id in chosen]
        return self._replace(
            class_ids=[self.class_ids[i] for i in rows],
            slots=[self.slots[i] for i in rows],
            texts=[self.texts[i] for i in rows],
        )


def kept_descriptions(rows: Sequence[Mapping[str, Any]]) -> TextTable:
    """The kept ones of the rows of data/filtered/descriptions.parquet; slot k is rank k."""
    kept = [row for row in rows if row["kept"]]
    columns = ([row[key] for row in kept] for key in ("class_id", "rank", "sentence"))
    return TextTable(DESCRIPTIONS, [], *columns)


def file_of(texts: str, dataset: str) -> Path:
    """The file that holds the texts of an image set under a text set."""
    return KEPT if texts == DESCRIPTIONS else TEXTS / texts / f"{dataset}.parquet"


def write_texts(path: Path, table: TextTable) -> None:
    """Write the strings of a text set."""
    write_table(path, table.columns, SCHEMA.with_metadata(table.metadata), text_faults)


def read_table_of(path: Path) -> TextTable:
    """Read a file of `write_texts`.

    Raises:
        UserError: it is missing or broken, or names no text set.
    """
    table = read_table(path, SCHEMA, text_faults)
    name, templates = origin_of(table, path)
    class_ids, slots, texts = (table[key].to_pylist() for key in SCHEMA.names)
    return TextTable(name, templates, class_ids, slots, texts)


def origin_of(table: pa.Table, path: Path) -> tuple[str, list[str]]:
    """The text set of a table of texts or embeddings, read from `path`, and its templates.

    Raises:
        UserError: it names none.
    """
    try:
        values = json.loads((table.schema.metadata or {}).get(METADATA, b"null"))
    except (ValueError, RecursionError):
        values = None
    if values is None:
        raise UserError(f"{path}: names no text set; run `dvc repro`")
    origin = validate(values, TextOrigin, f"{path}: its text set")
    return origin.name, origin.templates


def check_same_classes(path: Path, table_ids: Sequence[str], class_ids: Sequence[str]) -> None:
    """Check that the file `path`, whose rows are of `table_ids`, is about the classes `class_ids`.

    Raises:
        UserError: it lacks one, or is about another.
    """
    known = set(table_ids)
    missing = [class_id for class_id in class_ids if class_id not in known]
    unknown = sorted(known - set(class_ids))
    if missing:
        raise UserError(
            f"{path}: nothing of class '{missing[0]}' ({len(missing)} classes in all); "
            "run `dvc repro`"
        )
    if unknown:
        raise UserError(
            f"{path}: class '{unknown[0]}' is not in the class table ({len(unknown)} classes in "
            "all); run `dvc repro`"
        )


def check_text_set(path: Path, name: str, expected: str) -> None:
    """Raise UserError unless the text set `name`, which the file `path` holds, is the expected."""
    if name != expected:
        raise UserError(f"{path}: holds text set '{name}', not '{expected}'; run `dvc repro`")


def texts_of(texts: str, dataset: str, class_ids: Sequence[str]) -> TextTable:
    """The texts of the classes of an image set under a text set.

    Raises:
        UserError: a class has no description, or the file is of another text or image set.
    """
    path = file_of(texts, dataset)
    table = read_table_of(path)
    check_text_set(path, table.name, texts)
    if texts != DESCRIPTIONS:
        check_same_classes(path, table.class_ids, class_ids)
        return table
    missing = sorted(set(class_ids) - set(table.class_ids))
    if missing:
        raise UserError(
            f"class '{missing[0]}' of set '{dataset}' has no description ({len(missing)} of "
            f"{len(set(class_ids))} have none); take '{DESCRIPTIONS}' out of evaluate.texts and "
            "evaluate.attacker, or that set out of evaluate.datasets"
        )
    return table.of_classes(class_ids)

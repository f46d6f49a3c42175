"""Sentence files keyed by class: JSON {class: [sentences]} or Parquet (class_id or name, text).

A class is looked up by its id first, then by its exact name. A name that several ids share
(crane, the bird and the machine) is ambiguous and must be keyed by id. Files of other
people, whose names differ from ours, are for pipeline.backends.published.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from pipeline.common.errors import UserError
from pipeline.common.tables import read_json
from pipeline.common.text_files import spelled_as
from pipeline.images.classes import ClassEntry


def captions_by_class(
    classes: Sequence[ClassEntry], sentences_of: Mapping[str, Sequence[str]], path: Path
) -> list[Sequence[str]]:
    """The sentences of each class; none for a class that the file does not name.

    Raises:
        UserError: a name in the file belongs to several classes, or two are one but for their form.
    """
    sentences_of = _by_class_keys(classes, sentences_of, path)
    shared = {name for name, count in Counter(c.name for c in classes).items() if count > 1}
    result = []
    for class_entry in classes:
        texts = sentences_of.get(class_entry.class_id)
        if texts is None:
            texts = sentences_of.get(class_entry.name, [])
            if texts and class_entry.name in shared:
                raise UserError(
                    f"{path}: several classes are named '{class_entry.name}'; key them by id"
                )
        result.append(texts)
    return result


def read_sentences(path: Path) -> dict[str, list[str]]:
    """Key (id or name) -> sentences, from JSON (where one sentence needs no list) or Parquet.

    Raises:
        UserError: the file is missing, broken, or of another form.
    """
    if path.suffix == ".parquet":
        return _from_parquet(path)
    values = read_json(path)
    if isinstance(values, dict):
        values = {key: [v] if isinstance(v, str) else v for key, v in values.items()}
    if not isinstance(values, dict) or not all(_is_list_of_text(v) for v in values.values()):
        raise UserError(f"{path}: expected a JSON object of class -> list of sentences")
    return values


def _by_class_keys(
    classes: Sequence[ClassEntry], sentences_of: Mapping[str, Sequence[str]], path: Path
) -> dict[str, Sequence[str]]:
    """The sentences by ids and names as the class table writes them, for people's files may have
    another Unicode form, or other spaces."""
    known = {class_entry.class_id for class_entry in classes}
    known |= {class_entry.name for class_entry in classes}
    result: dict[str, Sequence[str]] = {}
    for key, texts in zip(spelled_as(sentences_of, known), sentences_of.values(), strict=True):
        if key in result:
            raise UserError(f"{path}: key '{key}' stands there in two forms; keep one")
        result[key] = texts
    return result


def _from_parquet(path: Path) -> dict[str, list[str]]:
    try:
        table = pq.read_table(path)
    except (OSError, ArrowInvalid) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error}") from None
    key = next((k for k in ("class_id", "name") if k in table.column_names), None)
    if key is None or "text" not in table.column_names:
        raise UserError(f"{path}: expected columns class_id (or name) and text")
    for column in (key, "text"):
        kind = table.schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(f"{path}: column '{column}' holds {kind}, expected strings")
        if table[column].null_count:
            raise UserError(f"{path}: column '{column}' has {table[column].null_count} nulls")
    sentences_of: dict[str, list[str]] = {}
    for row in table.select([key, "text"]).to_pylist():
        sentences_of.setdefault(row[key], []).append(row["text"])
    return sentences_of


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)

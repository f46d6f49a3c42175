"""Published description files: any of their forms as sentences by key.

JSON     {key: [sentences]}, or {key: {question: [sentences]}} with the question as prompt_id;
         one sentence needs no list around it
Parquet  one row per sentence: `class_id` or `name`, `sentence` or `text`, and optionally
         `prompt_set`, `prompt_id`, `sample_index`, `source`; this pipeline's
         artifact has all
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.common.errors import UserError, first_line
from pipeline.common.text_files import read_text
from pipeline.descriptions.artifact import LONE_SURROGATE, SCHEMA
from pipeline.descriptions.interface import Sentence

SOURCE = "published"
_ORIGIN = ("prompt_set", "prompt_id", "source", "sample_index")


def read_published(path: Path) -> dict[str, list[Sentence]]:
    """Key -> its sentences in the order of the file; their `class_id` is the key.

    A key with an empty list is kept. `sample_index` is what the row says, or counts the
    sentences of a key and prompt_id from 0.

    Raises:
        UserError: the file is missing, broken, of another form, names a key or a sample
            twice, or holds anything but text for a sentence.
    """
    sentences_of = _from_parquet(path) if path.suffix == ".parquet" else _from_json(path)
    if not sentences_of:
        raise UserError(f"{path}: holds no descriptions")
    return sentences_of


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object, in which no key may occur twice (json itself silently keeps the last).

    Raises:
        UserError: missing, not JSON, not an object, or a key occurs twice.
    """
    try:
        values = json.loads(read_text(path), object_pairs_hook=_reject_duplicate_keys)
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {first_line(error)}") from None
    except _LoneSurrogateKey as error:
        raise UserError(f"{path}: key {str(error)!a} holds half a character; fix it") from None
    except _DuplicateKey as error:
        raise UserError(f"{path}: key '{error}' stands there twice; keep one") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object, found {_kind(values)}")
    return values


class _LoneSurrogateKey(Exception):
    """A key with a lone surrogate, half of a character, such as a cut emoji."""


class _DuplicateKey(Exception):
    """A key that occurs twice in one JSON object."""


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if lone_key := next((key for key in values if LONE_SURROGATE.search(key)), None):
        raise _LoneSurrogateKey(lone_key)
    if len(values) < len(pairs):
        raise _DuplicateKey(
            next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        )
    return values


def _from_json(path: Path) -> dict[str, list[Sentence]]:
    sentences_of = {}
    for key, value in read_object(path).items():
        where = f"{path}: key '{key}'"
        prompts = value if isinstance(value, dict) else {"": value}
        sentences_of[key] = [
            Sentence(key, text, SOURCE, prompt_id=prompt, sample_index=index)
            for prompt, texts in prompts.items()
            for index, text in enumerate(_texts(texts, f"{where}, '{prompt}'" if prompt else where))
        ]
    return sentences_of


def _texts(values: Any, where: str) -> Iterator[str]:
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, list):
        raise UserError(f"{where}: expected a list of sentences, found {_kind(values)}")
    for value in values:
        if not isinstance(value, str):
            raise UserError(f"{where}: expected sentences in its list, found {_kind(value)}")
        if LONE_SURROGATE.search(value):
            raise UserError(f"{where}: a sentence holds half a character: {ascii(value)}")
        yield value


def _from_parquet(path: Path) -> dict[str, list[Sentence]]:
    table = _table(path)
    key = next((name for name in ("class_id", "name") if name in table.column_names), None)
    text = next((name for name in ("sentence", "text") if name in table.column_names), None)
    if key is None or text is None:
        raise UserError(f"{path}: expected columns class_id (or name) and sentence (or text)")
    kinds = {key: pa.string(), text: pa.string()}
    kinds |= {name: SCHEMA.field(name).type for name in _ORIGIN if name in table.column_names}
    sentences_of: dict[str, list[Sentence]] = {}
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for row in _cast(table, kinds, path).to_pylist():
        origin = {"source": SOURCE, "prompt_set": "", "prompt_id": ""} | row
        prompt = row[key], origin["source"], origin["prompt_set"], origin["prompt_id"]
        index = row.get("sample_index", counts[prompt])
        counts[prompt] += 1
        sentence = Sentence(row[key], row[text], *prompt[1:], sample_index=index)
        sentences_of.setdefault(row[key], []).append(sentence)
    _check_samples(sentences_of, path)
    return sentences_of


def _table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {first_line(error)}") from None


def _cast(table: pa.Table, kinds: dict[str, pa.DataType], path: Path) -> pa.Table:
    """The columns of `kinds` alone, of these types: tools write string and int in many ways."""
    for name, kind in kinds.items():
        column_type = table.schema.field(name).type
        is_alike = pa.types.is_integer if pa.types.is_integer(kind) else _is_text
        if not is_alike(column_type):
            raise UserError(f"{path}: column '{name}' holds {column_type}, expected {kind}")
        if table[name].null_count:
            raise UserError(f"{path}: column '{name}' has {table[name].null_count} nulls")
    try:
        return table.select(list(kinds)).cast(pa.schema(list(kinds.items())))
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: {first_line(error)}") from None


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):  # pandas: a categorical column
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()


def _check_samples(sentences_of: dict[str, list[Sentence]], path: Path) -> None:
    """Raise UserError unless there is one row per sample, which later stages rely on."""
    for key, sentences in sentences_of.items():
        samples = Counter((s.source, s.prompt_set, s.prompt_id, s.sample_index) for s in sentences)
        sample, count = samples.most_common(1)[0]
        if count > 1:
            raise UserError(f"{path}: {count} rows of '{key}' are sample {sample}; keep one")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return names.get(type(value), "null" if value is None else "a number")

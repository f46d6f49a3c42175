"""data/descriptions/: the artifact a team shares, one row per sentence as it was written.

Rows are in the class table's order, then in the order of prompt and sample, so that the same
sentences give the same bytes. provenance.json in the same folder says how they were generated;
only the report reads it.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.common.errors import UserError
from pipeline.common.tables import read_table
from pipeline.descriptions.interface import Answers, Sentence
from pipeline.descriptions.sources import is_fill
from pipeline.images.classes import ClassEntry

DESCRIPTIONS = Path("data/descriptions/descriptions.parquet")
SCHEMA = pa.schema(
    [
        ("class_id", pa.string()),
        ("class_name", pa.string()),
        ("sentence", pa.string()),
        ("prompt_set", pa.string()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("source", pa.string()),
        ("tokens", pa.int32()),  # of OpenAI's CLIP tokenizer, with start and end
    ]
)
# half of a character: JSON can write it as "\ud83d", but UTF-8 cannot encode it
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
CountTokens = Callable[[list[str]], list[int]]


def to_columns(
    sentences: Sequence[Sentence], classes: Sequence[ClassEntry], count_tokens: CountTokens
) -> dict[str, list[Any]]:
    """Columns of SCHEMA: classes in label order, prompts in the order in which they first
    appear, samples by index; blank sentences are left out.

    Raises:
        UserError: a sentence is for an unknown class, two are the same sample, or the source
            is one that only the filter sets.
    """
    names = {class_entry.class_id: class_entry.name for class_entry in classes}
    label_of = {class_id: index for index, class_id in enumerate(names)}
    prompt_index = {key: index for index, key in enumerate(dict.fromkeys(map(_prompt, sentences)))}
    unknown = next((s.class_id for s in sentences if s.class_id not in names), None)
    if unknown is not None:
        raise UserError(f"describe: sentence for unknown class '{unknown}'")
    reserved = next((s.source for s in sentences if is_fill(s.source)), None)
    if reserved is not None:
        raise UserError(f"describe: source '{reserved}' is kept for what the filter fills in")
    repeated = [key for key, count in Counter(map(_identity, sentences)).items() if count > 1]
    if repeated:
        raise UserError(f"describe: two sentences are sample {repeated[0]}")
    rows = sorted(
        (s for s in sentences if s.text.strip()),
        key=lambda s: (label_of[s.class_id], prompt_index[_prompt(s)], s.sample_index),
    )
    texts = [s.text for s in rows]
    return {
        "class_id": [s.class_id for s in rows],
        "class_name": [names[s.class_id] for s in rows],
        "sentence": texts,
        "prompt_set": [s.prompt_set for s in rows],
        "prompt_id": [s.prompt_id for s in rows],
        "sample_index": [s.sample_index for s in rows],
        "source": [s.source for s in rows],
        "tokens": count_tokens(texts),
    }


def read_artifact(path: Path, classes: Sequence[ClassEntry]) -> dict[str, list[dict[str, Any]]]:
    """Class id -> its rows, for the classes that have any.

    Raises:
        UserError: the file is missing or of another schema, or describes a class that is not
            in the class table.
    """
    rows_of: dict[str, list[dict[str, Any]]] = {}
    for row in read_table(path, SCHEMA).to_pylist():
        rows_of.setdefault(row["class_id"], []).append(row)
    unknown = next(iter(set(rows_of) - {class_entry.class_id for class_entry in classes}), None)
    if unknown is not None:
        raise UserError(f"{path}: class '{unknown}' is not in the class table; run `dvc repro`")
    return rows_of


def classes_without_sentence(answers: Answers, classes: Sequence[ClassEntry]) -> list[str]:
    """Ids of the classes that no sentence describes."""
    described = {s.class_id for s in answers.sentences if s.text.strip()}
    return [
        class_entry.class_id for class_entry in classes if class_entry.class_id not in described
    ]


def _prompt(sentence: Sentence) -> tuple[str, str, str]:
    return sentence.source, sentence.prompt_set, sentence.prompt_id


def _identity(sentence: Sentence) -> tuple[str, str, str, str, int]:
    return sentence.class_id, *_prompt(sentence), sentence.sample_index

"""data/descriptions/: the artifact a team shares, one row per sentence as it was written.

Rows are in the class table's order, then in the order of prompt and sample, so that the same
sentences give the same bytes. provenance.json in the same folder says how they were generated;
only the report reads it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.common import rows as table_rows
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
SAMPLE = ("class_id", "source", "prompt_set", "prompt_id", "sample_index")  # of one sentence
# half of a character: JSON can write it as "\ud83d", but UTF-8 cannot encode it
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
CountTokens = Callable[[list[str]], list[int]]


def sentence_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of descriptions.parquet; see `pipeline.common.rows`."""
    yield from table_rows.complete(table)
    yield from table_rows.unique(table, SAMPLE)
    for column, least in (("sample_index", 0), ("tokens", 1)):
        yield from table_rows.at_least(table, column, least)
    yield from table_rows.not_blank(table, "sentence")
    for source in filter(is_fill, table["source"].unique().to_pylist()):
        yield f"source '{source}' is kept for what the filter fills in"


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
        UserError: the file is missing or damaged, its rows are not in the order in which they are
            written, or it describes a class that is not in the class table or has another name.
    """
    rows_of: dict[str, list[dict[str, Any]]] = {}
    name_of = {class_entry.class_id: class_entry.name for class_entry in classes}
    rows = read_table(path, SCHEMA, sentence_faults).to_pylist()
    for row in rows:
        class_id, name = row["class_id"], row["class_name"]
        if class_id not in name_of:
            raise UserError(
                f"{path}: class '{class_id}' is not in the class table; run `dvc repro`"
            )
        if name != name_of[class_id]:
            raise UserError(
                f"{path}: class '{class_id}' is called '{name}', in the class table "
                f"'{name_of[class_id]}'; run `dvc repro`"
            )
        rows_of.setdefault(class_id, []).append(row)
    _check_order(path, rows, list(name_of))
    return rows_of


def _check_order(path: Path, rows: Sequence[dict[str, Any]], class_ids: Sequence[str]) -> None:
    """Raise UserError unless the rows are by class, those of a prompt together, and by sample: of
    two sentences that say the same the filter keeps the first."""
    label_of = {class_id: label for label, class_id in enumerate(class_ids)}
    seen: set[tuple[str, ...]] = set()
    for number, (previous, row) in enumerate(pairwise(rows), start=1):
        group, group_before = (tuple(r[name] for name in SAMPLE[:-1]) for r in (row, previous))
        seen.add(group_before)
        if group == group_before:
            ordered = row["sample_index"] > previous["sample_index"]
        else:
            rises = label_of[row["class_id"]] >= label_of[previous["class_id"]]
            ordered = rises and group not in seen
        if not ordered:
            raise UserError(
                f"{path}: row {number} of class '{row['class_id']}' is not where it is written: by "
                "class, prompt and sample; run `dvc repro`"
            )


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

"""Description backends, one file each; the file name is what `describe.backend` names.

A backend module has
    class Params(Section)                          its keys under `describe.options.<backend>`
    def describe(classes, params, seed) -> Answers
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import UserError
from pipeline.images import ClassEntry

DESCRIPTIONS = Path("data/descriptions/descriptions.parquet")
SCHEMA = pa.schema(
    [
        ("class_id", pa.string()),
        ("name", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
    ]
)


@dataclass(frozen=True)
class Sentence:
    """One description of a class; `source` says where it came from (backend, prompt, ...)."""

    class_id: str
    text: str
    source: str


@dataclass(frozen=True)
class Answers:
    """What a backend returns: sentences in any order, and how they were made.

    `provenance` is JSON-serialisable (model, revision, versions, sampling, file hashes) and
    holds nothing that changes between identical runs: no time, host or path of a machine.
    """

    sentences: Sequence[Sentence]
    provenance: dict[str, Any] = field(default_factory=dict)


def in_class_order(answers: Answers, classes: Sequence[ClassEntry]) -> dict[str, list[Any]]:
    """Columns of SCHEMA: classes in label order, sentences in the backend's order, each
    normalised in white space, exact repeats within a class dropped.

    Raises:
        UserError: a class has no sentence, or a sentence is for an unknown class.
    """
    grouped: dict[str, dict[str, str]] = {entry.class_id: {} for entry in classes}
    for sentence in answers.sentences:
        if sentence.class_id not in grouped:
            raise UserError(f"describe: sentence for unknown class '{sentence.class_id}'")
        text = " ".join(sentence.text.split())
        if text:
            grouped[sentence.class_id].setdefault(text, sentence.source)
    empty = [entry.class_id for entry in classes if not grouped[entry.class_id]]
    if empty:
        raise UserError(
            f"describe: no description for {len(empty)} of {len(classes)} classes: "
            f"{', '.join(empty[:10])}{' ...' if len(empty) > 10 else ''}"
        )
    rows = [
        (entry.class_id, entry.name, text, source)
        for entry in classes
        for text, source in grouped[entry.class_id].items()
    ]
    return {
        name: list(column)
        for name, column in zip(SCHEMA.names, zip(*rows, strict=True), strict=True)
    }

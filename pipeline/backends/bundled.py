"""The demo's descriptions, kept in the repository.

Each class has correct sentences and, on purpose, a few that are off-topic or wrong, as a
language model would write them. Those are marked "planted" in `source`, which the filter does
not read; the report counts how many of them it dropped.
"""

import hashlib
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.common.tables import read_json
from pipeline.descriptions.interface import Answers, Sentence, Task

ASKS_MODEL = False
FILE = Path("data/inputs/bundled/descriptions.json")
SOURCE = "bundled"
PLANTED = "bundled, planted"


class Params(Section):
    """`describe.options.bundled` has no keys."""


def describe(task: Task, params: Params) -> Answers:
    """Sentences of the demo's classes, keyed by class id.

    Raises:
        UserError: a class is not one of the demo's.
    """
    sentences_of = read_json(FILE)
    missing = [
        class_entry.class_id
        for class_entry in task.classes
        if class_entry.class_id not in sentences_of
    ]
    if missing:
        raise UserError(
            f"{FILE}: no descriptions for class '{missing[0]}' ({len(missing)} classes in all); "
            "choose another describe.backend for other data sets"
        )
    sentences = [
        Sentence(class_entry.class_id, text, source, sample_index=index)
        for class_entry in task.classes
        for key, source in (("sentences", SOURCE), ("planted", PLANTED))
        for index, text in enumerate(sentences_of[class_entry.class_id][key])
    ]
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    return Answers(sentences, {"file": FILE.name, "sha256": digest})

"""The demo's descriptions, kept in the repository.

Each class has correct sentences and, on purpose, a few that are off-topic or wrong, as a
language model would write them. Those are marked "planted" in `source`: the filter never
looks at the mark, the report counts how many of them it dropped.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.descriptions import Answers, Sentence
from pipeline.errors import UserError
from pipeline.images import ClassEntry
from pipeline.params import Section
from pipeline.tables import read_json

FILE = Path("data/bundled/descriptions.json")
PLANTED = "bundled, planted"


class Params(Section):
    """`describe.options.bundled` has no keys."""


def describe(classes: Sequence[ClassEntry], params: Params, seed: int) -> Answers:
    """Sentences of the demo's classes, keyed by class id; `seed` is not used."""
    known = read_json(FILE)
    missing = [entry.class_id for entry in classes if entry.class_id not in known]
    if missing:
        raise UserError(
            f"{FILE}: no descriptions for class '{missing[0]}' ({len(missing)} classes in all); "
            "choose another describe.backend for other data sets"
        )
    sentences = []
    for entry in classes:
        own = known[entry.class_id]
        sentences += [Sentence(entry.class_id, text, "bundled") for text in own["sentences"]]
        sentences += [Sentence(entry.class_id, text, PLANTED) for text in own["planted"]]
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    return Answers(sentences, {"file": FILE.name, "sha256": digest})

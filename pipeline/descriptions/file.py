"""Descriptions from a file, keyed by class id or exact name (see `pipeline.sentences`)."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.descriptions import Answers
from pipeline.images import ClassEntry
from pipeline.params import Section, Template
from pipeline.sentences import lookup, read_sentences


class Params(Section):
    """`describe.options.file`."""

    path: str
    """JSON or Parquet file, relative to the project's folder or absolute."""
    fill: Template | None
    """null: a class without sentences is an error. A template with one {} (for example
    "This is a photo of a {}"): such a class gets it as its only sentence, with source
    "template", and is listed in provenance.json."""


def describe(classes: Sequence[ClassEntry], params: Params, seed: int) -> Answers:
    """Sentences of every class, in the file's order; `seed` is not used."""
    path = Path(params.path)
    sentences, filled = lookup(classes, read_sentences(path), path, params.fill)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Answers(sentences, {"file": path.name, "sha256": digest, "filled": filled})

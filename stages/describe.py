"""Describe every class in sentences: `python -m stages.describe`.

Reads data/classes/<describe.dataset>.parquet, the prompt set and the exemplars; writes
data/descriptions/descriptions.parquet, every sentence as it came, and provenance.json beside
it (how they were made; nothing downstream reads it but the report).
"""

import hashlib
from contextlib import nullcontext
from pathlib import Path

import typer

from pipeline.artifact import DESCRIPTIONS, PROVENANCE, SCHEMA, to_columns, without_sentence
from pipeline.atomic import replacing_directory
from pipeline.clip_tokens import count_tokens
from pipeline.describe import DescribeParams, wanted_classes
from pipeline.descriptions import Answers, Task
from pipeline.errors import UserError
from pipeline.exemplars import read_exemplars
from pipeline.images import CLASSES, ClassEntry, read_classes
from pipeline.options import chosen
from pipeline.params import Section, read_section
from pipeline.prompts import read_prompts
from pipeline.scratch import clear, locked
from pipeline.tables import write_json, write_table
from stages.runner import stage


@stage("describe")
def main() -> None:
    """Ask the chosen backend for the descriptions of every class of the training set."""
    params = read_section("describe", DescribeParams)
    module, options = chosen(
        "pipeline.descriptions", "describe", "backend", params.backend, params.options
    )
    table = str(CLASSES / f"{params.dataset}.parquet")
    classes = wanted_classes(read_classes(params.dataset), params.only, table)
    prompts = read_prompts(params.prompts)
    exemplars = read_exemplars(params.exemplars, classes)
    asks = hasattr(options, "model")  # answers of a model are kept until all are there
    with (
        locked("describe", _mark(params.backend, options))
        if asks
        else nullcontext(Path()) as folder
    ):
        task = Task(classes, params.prompts, prompts, exemplars, params.seed, folder)
        answers = module.describe(task, options)
        _check(answers, classes, params)
        columns = to_columns(answers.sentences, classes, count_tokens)
        with replacing_directory(DESCRIPTIONS.parent) as output:
            write_table(output / DESCRIPTIONS.name, columns, SCHEMA)
            provenance = {"backend": params.backend, "sentences": len(columns["sentence"])}
            write_json(output / PROVENANCE.name, provenance | answers.provenance)
        if asks:
            clear(folder)
    print(f"{len(columns['sentence'])} sentences for {len(classes)} classes ({params.backend})")


def _mark(backend: str, options: Section) -> str:
    """One folder of answers per backend and model: they are found by their content in it."""
    which = f"{getattr(options, 'model', '')}@{getattr(options, 'revision', '')}"
    return f"{backend}-{hashlib.sha256(which.encode()).hexdigest()[:12]}"


def _check(answers: Answers, classes: list[ClassEntry], params: DescribeParams) -> None:
    empty = without_sentence(answers, classes)
    if not answers.sentences:
        raise UserError(f"describe: {params.backend} gave no sentence for any class")
    if empty and params.empty_class == "error":
        listed = ", ".join(empty[:10]) + ", ..." * (len(empty) > 10)
        raise UserError(
            f"describe: no sentence for {len(empty)} of {len(classes)} classes: {listed}; "
            "mend them, or set describe.empty_class: allow and let filter.short_class decide"
        )


if __name__ == "__main__":
    typer.run(main)

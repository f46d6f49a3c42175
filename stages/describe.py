"""Describe every class in sentences: `python -m stages.describe`.

Reads data/classes/<describe.dataset>.parquet, the prompt set and the exemplars; writes
data/descriptions/descriptions.parquet, every sentence as it came, and provenance.json beside
it (how they were made; nothing downstream reads it but the report).
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError, listed
from pipeline.common.options import load_plugin
from pipeline.common.params import Section, read_section
from pipeline.common.scratch import locked
from pipeline.common.tables import write_json, write_table
from pipeline.descriptions.answer_log import AnswerLog
from pipeline.descriptions.artifact import (
    DESCRIPTIONS,
    PROVENANCE,
    SCHEMA,
    to_columns,
    without_sentence,
)
from pipeline.descriptions.exemplars import NO_EXEMPLARS, read_exemplars
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.params import DescribeParams, wanted_classes
from pipeline.descriptions.prompts import PromptSet, read_prompts
from pipeline.descriptions.tokens import count_tokens
from pipeline.images.classes import CLASSES, ClassEntry, read_classes
from stages.runner import stage


@stage("describe")
def main() -> None:
    """Ask the chosen backend for the descriptions of every class of the training set."""
    params = read_section("describe", DescribeParams)
    module, options = load_plugin(
        "pipeline.backends", "describe", "backend", params.backend, params.options
    )
    known = read_classes(params.dataset)
    classes = wanted_classes(known, params.only, str(CLASSES / f"{params.dataset}.parquet"))
    prompts = read_prompts(params.prompts)
    exemplars = read_exemplars(params.exemplars, classes)
    _check_exemplars(params, options)
    with _answer_log(params, options, prompts) as log:
        task = Task(classes, params.prompts, prompts, exemplars, params.seed, log, known)
        answers = module.describe(task, options)
        _check_empty(answers, classes, params)
        columns = to_columns(answers.sentences, classes, count_tokens)
        with replacing_directory(DESCRIPTIONS.parent) as output:
            write_table(output / DESCRIPTIONS.name, columns, SCHEMA)
            provenance = {"backend": params.backend, "sentences": len(columns["sentence"])}
            write_json(output / PROVENANCE.name, provenance | answers.provenance)
    print(f"{len(columns['sentence'])} sentences for {len(classes)} classes ({params.backend})")


def _asks(options: Section) -> bool:
    return hasattr(options, "model")


def _check_exemplars(params: DescribeParams, options: Section) -> None:
    if params.exemplars != NO_EXEMPLARS and not _asks(options):
        raise UserError(
            f"params.yaml: describe.exemplars: backend {params.backend} shows images to nobody; "
            f"set {NO_EXEMPLARS}"
        )


@contextmanager
def _answer_log(
    params: DescribeParams, options: Section, prompts: PromptSet
) -> Iterator[AnswerLog | None]:
    """Where a model's answers are kept until the output is written. Runs with other questions,
    another model or seed have another file: they may go on side by side."""
    if not _asks(options):
        yield None
        return
    which = [getattr(options, key, "") for key in ("model", "revision", "base_url")]
    mark = hashlib.sha256(json.dumps([*which, prompts.digest(), params.seed]).encode())
    with locked("describe", f"{params.backend}-{mark.hexdigest()[:12]}") as folder:
        log = AnswerLog(folder / "answers.jsonl")
        yield log
        log.forget_used()


def _check_empty(answers: Answers, classes: list[ClassEntry], params: DescribeParams) -> None:
    empty = without_sentence(answers, classes)
    if not answers.sentences:
        raise UserError(f"describe: {params.backend} gave no sentence for any class")
    if empty and params.empty_class == "error":
        raise UserError(
            f"describe: no sentence for {len(empty)} of {len(classes)} classes: "
            f"{listed(empty, 10)}; fix them (a model: raise its retries), or set "
            "describe.empty_class: allow and let filter.short_class decide"
        )


if __name__ == "__main__":
    typer.run(main)

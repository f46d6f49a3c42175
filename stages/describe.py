"""Describe every class in sentences: `python -m stages.describe`.

Reads data/classes/<describe.dataset>.parquet, the prompt set and the exemplars; writes
data/descriptions/descriptions.parquet, every sentence as it came, and provenance.json in
the same folder (how they were generated; only the report reads it).
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

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
    classes_without_sentence,
    to_columns,
)
from pipeline.descriptions.exemplars import NO_EXEMPLARS, read_exemplars
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.params import DescribeParams, classes_to_describe
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
    table = read_classes(params.dataset)
    classes = classes_to_describe(table, params.only, str(CLASSES / f"{params.dataset}.parquet"))
    prompts = read_prompts(params.prompts)
    exemplars = read_exemplars(params.exemplars, classes)
    _check_exemplars(params, module)
    with _answer_log(params, module, options, prompts) as log:
        task = Task(classes, params.prompts, prompts, exemplars, params.seed, log, table)
        answers = module.describe(task, options)
        _check_empty(answers, classes, params)
        columns = to_columns(answers.sentences, classes, count_tokens)
        with replacing_directory(DESCRIPTIONS.parent) as output:
            write_table(output / DESCRIPTIONS.name, columns, SCHEMA)
            provenance = {"backend": params.backend, "sentences": len(columns["sentence"])}
            write_json(output / PROVENANCE.name, provenance | answers.provenance)
    print(f"{len(columns['sentence'])} sentences for {len(classes)} classes ({params.backend})")


def _check_exemplars(params: DescribeParams, module: ModuleType) -> None:
    if params.exemplars != NO_EXEMPLARS and not module.ASKS_MODEL:
        raise UserError(
            f"params.yaml: describe.exemplars: backend {params.backend} shows images to nobody; "
            f"set {NO_EXEMPLARS}"
        )


@contextmanager
def _answer_log(
    params: DescribeParams, module: ModuleType, options: Section, prompts: PromptSet
) -> Iterator[AnswerLog | None]:
    """The log of a model's answers until the output is written; None for a backend without one.

    Runs with other questions, another model or seed have another file, so they may run at once.
    """
    if not module.ASKS_MODEL:
        yield None
        return
    identity = [getattr(options, key, "") for key in ("model", "revision", "base_url")]
    digest = hashlib.sha256(json.dumps([*identity, prompts.digest(), params.seed]).encode())
    with locked("describe", f"{params.backend}-{digest.hexdigest()[:12]}") as folder:
        log = AnswerLog(folder / "answers.jsonl")
        yield log
        log.forget_used()


def _check_empty(answers: Answers, classes: list[ClassEntry], params: DescribeParams) -> None:
    empty = classes_without_sentence(answers, classes)
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

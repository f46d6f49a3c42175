"""Between a backend and the artifact: the log of a model's answers, what is refused, what is
written."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError, listed
from pipeline.common.params import Section
from pipeline.common.scratch import locked
from pipeline.common.tables import write_json, write_table
from pipeline.descriptions.answer_log import AnswerLog
from pipeline.descriptions.artifact import (
    DESCRIPTIONS,
    SCHEMA,
    classes_without_sentence,
    sentence_faults,
    to_columns,
)
from pipeline.descriptions.captions import with_images, write_captions
from pipeline.descriptions.confusions import NO_CONFUSIONS
from pipeline.descriptions.exemplars import NO_EXEMPLARS
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Answers
from pipeline.descriptions.params import DescribeParams
from pipeline.descriptions.prompts import OTHERS, PromptSet
from pipeline.descriptions.sources import PROVENANCE
from pipeline.descriptions.tokens import count_tokens
from pipeline.images.classes import ClassEntry


def check_exemplars(params: DescribeParams, module: ModuleType) -> None:
    """Raise UserError where images are to be shown and the backend asks no model, or each image
    is to be described and there is none."""
    chosen = params.exemplars != NO_EXEMPLARS
    nobody = f"backend {params.backend} shows images to nobody"
    if chosen and not module.ASKS_MODEL:
        raise UserError(f"params.yaml: describe.exemplars: {nobody}; set {NO_EXEMPLARS}")
    if params.per_image and not module.ASKS_MODEL:
        raise UserError(f"params.yaml: describe.per_image: {nobody}; set false")
    if params.per_image and not chosen:
        raise UserError(
            f"params.yaml: describe.per_image: describe.exemplars is {NO_EXEMPLARS}, so there is "
            "no image; set that to an entry of section exemplars, or per_image: false"
        )


def check_confusions(params: DescribeParams, module: ModuleType) -> None:
    """Raise UserError where confusable classes are chosen and the backend asks no model."""
    if params.confusions != NO_CONFUSIONS and not module.ASKS_MODEL:
        raise UserError(
            f"params.yaml: describe.confusions: backend {params.backend} asks no model; set "
            f"{NO_CONFUSIONS}"
        )


def check_questions(params: DescribeParams, module: ModuleType, prompts: PromptSet) -> None:
    """Raise UserError where a model is asked and its questions do not fit what they are about:
    confusable classes are chosen and no question names them, questions about one picture would be
    asked about a class, or the other way round."""
    if module.ASKS_MODEL:
        _check_others(params, prompts.names_others)
        _check_pictures(params, bool(prompts.per_image))


def _check_others(params: DescribeParams, named: bool) -> None:
    chosen = params.confusions != NO_CONFUSIONS
    key = "params.yaml: describe.confusions"
    if chosen and not named:
        raise UserError(
            f"{key}: prompt set {params.prompts} has no {OTHERS} for them; set "
            f"{NO_CONFUSIONS}, or describe.prompts: contrast"
        )
    if named and not chosen:
        raise UserError(
            f"{key}: prompt set {params.prompts} asks about confusable classes ({OTHERS}); name "
            "an entry of section confusions"
        )


def _check_pictures(params: DescribeParams, about_pictures: bool) -> None:
    key = "params.yaml: describe.per_image"
    if about_pictures and not params.per_image:
        raise UserError(
            f"{key}: the questions of prompt set {params.prompts} are about one picture; set true, "
            "and describe.exemplars to an entry of section exemplars"
        )
    if params.per_image and not about_pictures:
        raise UserError(
            f"{key}: the questions of prompt set {params.prompts} are about a class, not about one "
            "picture; set false, or describe.prompts to caption or another set with per_image: true"
        )


@contextmanager
def answer_log(
    params: DescribeParams, module: ModuleType, options: Section, prompts: PromptSet
) -> Iterator[AnswerLog | None]:
    """The log of a model's answers until the output is written; None for a backend without one.

    Runs with other questions, another model or seed have another file, so they may run at once.
    Where a model is served is no part of it: a server that moved goes on with the same answers.
    """
    if not module.ASKS_MODEL:
        yield None
        return
    assert isinstance(options, GenerationParams), "of every backend that asks a model"
    revision = getattr(options, "revision", "")
    # "" stands where an address once was: the logs of engines keep their names.
    identity = [options.model_identity(), revision, "", prompts.digest(), params.seed]
    digest = hashlib.sha256(json.dumps(identity).encode())
    with locked("describe", f"{params.backend}-{digest.hexdigest()[:12]}") as folder:
        log = AnswerLog(folder / "answers.jsonl")
        yield log
        log.forget_used()


def check_answers(answers: Answers, classes: Sequence[ClassEntry], params: DescribeParams) -> None:
    """Raise UserError without any sentence, or where a class has none and needs one."""
    empty = classes_without_sentence(answers, classes)
    if not answers.sentences:
        raise UserError(f"describe: {params.backend} gave no sentence for any class")
    if empty and params.empty_class == "error":
        raise UserError(
            f"describe: no sentence for {len(empty)} of {len(classes)} classes: "
            f"{listed(empty, 10)}; fix them (a model: raise its retries), or set "
            "describe.empty_class: allow and let filter.short_class decide"
        )


def write_artifact(answers: Answers, classes: Sequence[ClassEntry], backend: str) -> int:
    """Write data/descriptions/ as a whole: the sentences, which of them are captions and how they
    were made; how many there are."""
    columns = to_columns(answers.sentences, classes, count_tokens)
    count = len(columns["sentence"])
    with replacing_directory(DESCRIPTIONS.parent) as output:
        write_table(output / DESCRIPTIONS.name, columns, SCHEMA, sentence_faults)
        write_captions(output, with_images(columns, answers.sentences))
        provenance = {"backend": backend, "sentences": count}
        write_json(output / PROVENANCE.name, provenance | answers.provenance)
    return count

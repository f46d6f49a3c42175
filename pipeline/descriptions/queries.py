"""The questions of a description as requests to a model, and its answers as sentences in order."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.descriptions.articles import alternatives
from pipeline.descriptions.completeness import Key
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Sentence, Task
from pipeline.descriptions.messages import Query, request_seed


def first_queries(task: Task, params: GenerationParams) -> list[Query]:
    """Every answer to get, class by class; a common prefix of the messages helps prefix caching."""
    queries = []
    for class_entry in task.classes:
        images = task.exemplars.get(class_entry.class_id, ())
        others = alternatives(task.confusions.names_of.get(class_entry.class_id, ()))
        for prompt_id in task.prompts.questions:
            text = task.prompts.message(
                prompt_id,
                class_entry.name,
                params.sentences,
                bool(images),
                class_entry.gloss,
                others,
            )
            for answer in range(params.answers):
                seed = request_seed(class_entry.class_id, prompt_id, answer, 0, task.seed)
                queries.append(
                    Query(class_entry.class_id, prompt_id, answer, 0, seed, text, images)
                )
    return queries


def answer_of(query: Query) -> Key:
    """The answer that a query and its retries are attempts at."""
    return query.class_id, query.prompt_id, query.answer


def retry_query(query: Query, seed: int, attempt: int) -> Query:
    """The same question with the seed of attempt `attempt`."""
    retry_seed = request_seed(query.class_id, query.prompt_id, query.answer, attempt, seed)
    return Query(
        query.class_id, query.prompt_id, query.answer, attempt, retry_seed, query.text, query.images
    )


def content_of(query: Query) -> list[Any]:
    """What decides the reply besides model and sampling, JSON-serialisable."""
    images = [hashlib.sha256(image).hexdigest() for image in query.images]
    return [query.text, images, query.seed]


def in_order(
    task: Task,
    params: GenerationParams,
    source: str,
    texts_of: Mapping[Key, Sequence[str]],
) -> list[Sentence]:
    """Sentence j of answer i is sample i * params.sentences + j."""
    return [
        Sentence(
            class_entry.class_id,
            text,
            source,
            task.prompt_set,
            prompt_id,
            answer * params.sentences + index,
        )
        for class_entry in task.classes
        for prompt_id in task.prompts.questions
        for answer in range(params.answers)
        for index, text in enumerate(texts_of.get((class_entry.class_id, prompt_id, answer), []))
    ]

"""The questions of a description as requests to a model, and its answers as sentences in order."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.descriptions.articles import alternatives
from pipeline.descriptions.completeness import Key
from pipeline.descriptions.exemplars import Exemplar
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Sentence, Task
from pipeline.descriptions.messages import Query, request_seed


def first_queries(task: Task, params: GenerationParams) -> list[Query]:
    """Every answer to get, class by class; a common prefix of the messages helps prefix caching."""
    queries = []
    for class_entry in task.classes:
        confused = task.confusions.others_of.get(class_entry.class_id, ())
        others = alternatives(
            [task.prompts.spoken(other.name) for other in confused],
            [other.gloss for other in confused],
        )
        for image, shown in _messages(task, class_entry.class_id):
            pngs = [exemplar.png for exemplar in shown]
            for prompt_id in task.prompts.questions:
                text = task.prompts.message(
                    prompt_id,
                    class_entry.name,
                    params.sentences,
                    bool(pngs),
                    class_entry.gloss,
                    others,
                )
                for answer in range(params.answers):
                    query = Query(class_entry.class_id, prompt_id, answer, 0, 0, text, pngs, image)
                    queries.append(replace(query, seed=seed_of(query, 0, task.seed)))
    return queries


def _messages(task: Task, class_id: str) -> list[tuple[int | None, Sequence[Exemplar]]]:
    """(image that it is about, images that it shows) of each message with a question about a
    class: one for every image, or one for the class, None, with all of its images."""
    exemplars = task.exemplars.get(class_id, ())
    if task.per_image:
        return [(exemplar.image, [exemplar]) for exemplar in exemplars]
    return [(None, exemplars)]


def answer_of(query: Query) -> Key:
    """The answer that a query and its retries are attempts at."""
    return query.class_id, query.prompt_id, query.answer, query.image


def seed_of(query: Query, attempt: int, seed: int) -> int:
    """The seed of attempt `attempt` at the answer of `query`, in a run with seed `seed`."""
    return request_seed(query.class_id, query.prompt_id, query.answer, attempt, seed, query.image)


def retry_query(query: Query, seed: int, attempt: int) -> Query:
    """The same question with the seed of attempt `attempt`."""
    return replace(query, attempt=attempt, seed=seed_of(query, attempt, seed))


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
    """Sentence j of answer i is sample i * params.sentences + j; the answers to a question about
    each image are counted on from those about the image before it.

    With 2 answers of 3 sentences, sentence 1 of answer 0 about the second image is sample 7.
    """
    return [
        Sentence(
            class_entry.class_id,
            text,
            source,
            task.prompt_set,
            prompt_id,
            (number * params.answers + answer) * params.sentences + index,
            image,
        )
        for class_entry in task.classes
        for number, (image, _) in enumerate(_messages(task, class_entry.class_id))
        for prompt_id in task.prompts.questions
        for answer in range(params.answers)
        for index, text in enumerate(
            texts_of.get((class_entry.class_id, prompt_id, answer, image), [])
        )
    ]

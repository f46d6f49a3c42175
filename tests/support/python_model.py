"""A model made of Python that the tests ask, and what it is asked."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.descriptions.answer_log import AnswerLog, Reply
from pipeline.descriptions.asking import Keep, collect_answers
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Sentence, Task
from pipeline.descriptions.messages import Query
from pipeline.images.classes import ClassEntry
from tests.support.tasks import CLASSES, OPTIONS, PROMPTS

Says = Callable[[Query], Reply]


def good(query: Query) -> Reply:
    """Three sentences that no other answer has."""
    texts = [f"{query.class_id} {query.prompt_id} {query.seed} {i}" for i in range(3)]
    return Reply(json.dumps({"sentences": texts}), True, 10, 5)


def said(*sentences: str) -> Reply:
    return Reply(json.dumps({"sentences": sentences}), True, 1, 1)


class Model:
    """Answers in reverse order, and remembers what it was asked."""

    def __init__(self, says: Says = good) -> None:
        self.says = says
        self.batches: list[list[Query]] = []

    def send(self, queries: Sequence[Query], keep: Keep) -> Iterator[tuple[Query, Reply]]:
        self.batches.append(list(queries))
        for query in reversed(queries):
            reply = self.says(query)
            keep(query, reply)
            yield query, reply


def task(folder: Path, classes: Sequence[ClassEntry] = CLASSES, **changes: Any) -> Task:
    values = {"exemplars": {}, "seed": 0} | changes
    return Task(classes, "cupl", PROMPTS, log=AnswerLog(folder / "answers.jsonl"), **values)


def run(folder: Path, model: Model, **changes: Any) -> tuple[list[Sentence], dict[str, Any]]:
    params = GenerationParams.model_validate(OPTIONS | changes.pop("options", {}))
    return collect_answers(task(folder, **changes), params, "test", {"revision": "abc"}, model.send)

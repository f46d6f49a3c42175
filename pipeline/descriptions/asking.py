"""What every backend that asks a model does alike: questions, seeds, answers, retries.

Each answer is a request of its own with a seed of its own, a JSON object
{"sentences": [...]}. One that cannot be read (cut off, broken, empty) is asked again with
another seed, up to `retries` times. No backend lives here, hence the underscore.
"""

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pydantic import Field

from pipeline.common.params import Section
from pipeline.common.progress import counter
from pipeline.descriptions.answer_log import AnswerLog, Reply, request_key
from pipeline.descriptions.interface import Sentence, Task
from pipeline.descriptions.messages import Query, readable, request_seed


class Asking(Section):
    """Keys that every asking backend has."""

    model: str
    answers: int = Field(ge=1)
    sentences: int = Field(ge=1)
    # Above 0: greedy answers would all be equal, and a retry would fail the same way.
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=16)
    retries: int = Field(ge=0)


COUNTED = ("from_earlier_run", "truncated", "unreadable", "lost", "surplus_sentences")
Keep = Callable[[Query, Reply], None]
Send = Callable[[Sequence[Query], Keep], Iterator[tuple[Query, Reply]]]
"""All queries at once, each with its reply as soon as it is there, in any order; what came is
kept first, from any thread, so that an interruption loses nothing that was answered."""


def ask(
    task: Task, params: Asking, source: str, identity: dict[str, Any], send: Send
) -> tuple[list[Sentence], dict[str, Any]]:
    """Sentences of every class x prompt x answer, and counts for provenance.json.

    Args:
        source: the backend's name, for the rows.
        identity: what decides an answer besides query and sampling (revision, dtype, ...).
    """
    identity = {"source": source, **identity, **_sampling(params)}
    assert task.log is not None, "the stage gives every asking backend a log"
    wanted, good = _queries(task, params), {}
    counts = Counter({"answers": len(wanted)} | dict.fromkeys(COUNTED, 0))
    start = time.perf_counter()
    for attempt in range(params.retries + 1):
        failed = []
        for query, reply in _replies(wanted, identity, task.log, send, counts):
            texts = readable(reply)
            counts["surplus_sentences"] += max(len(texts) - params.sentences, 0)
            counts["prompt_tokens"] += reply.prompt_tokens
            counts["completion_tokens"] += reply.completion_tokens
            if texts:
                good[query.class_id, query.prompt_id, query.answer] = texts[: params.sentences]
            else:
                counts["unreadable" if reply.complete else "truncated"] += 1
                failed.append(query)
        wanted = [_again(query, task.seed, attempt + 1) for query in failed]
        if not wanted:
            break
    counts["lost"] = len(wanted)
    if counts["truncated"] or counts["unreadable"]:
        print(f"describe: some answers could not be read: {dict(counts)}", file=sys.stderr)
    seconds = round(time.perf_counter() - start, 1)
    made = {"counts": dict(counts), "generation_seconds": seconds}
    return _in_order(task, params, source, good), made


def asked_with(task: Task, params: Asking) -> dict[str, Any]:
    """The part of provenance.json that tells the questions and how they were put."""
    return {
        "model": params.model,
        "prompts": task.prompt_set,
        "prompts_version": task.prompts.version,
        "prompts_sha256": task.prompts.digest(),
        "exemplars_per_class": task.images_per_class,
        "seed": task.seed,
        "sampling": params.model_dump(include=set(Asking.model_fields) - {"model"}),
    }


def _sampling(params: Asking) -> dict[str, Any]:
    return params.model_dump(include={"model", "sentences", "temperature", "top_p", "max_tokens"})


def _queries(task: Task, params: Asking) -> list[Query]:
    """Every answer to get, class by class; a shared beginning helps prefix caching."""
    queries = []
    for entry in task.classes:
        images = task.exemplars.get(entry.class_id, ())
        for prompt_id in task.prompts.questions:
            text = task.prompts.message(prompt_id, entry.name, params.sentences, bool(images))
            for answer in range(params.answers):
                seed = request_seed(entry.class_id, prompt_id, answer, 0, task.seed)
                queries.append(Query(entry.class_id, prompt_id, answer, 0, seed, text, images))
    return queries


def _again(query: Query, seed: int, attempt: int) -> Query:
    fresh = request_seed(query.class_id, query.prompt_id, query.answer, attempt, seed)
    return Query(
        query.class_id, query.prompt_id, query.answer, attempt, fresh, query.text, query.images
    )


def _replies(
    wanted: Sequence[Query],
    identity: dict[str, Any],
    log: AnswerLog,
    send: Send,
    counts: Counter[str],
) -> Iterator[tuple[Query, Reply]]:
    """Replies from the log first, then from the model behind a bar with tokens per second."""
    keys = {query: request_key([identity, *_content(query)]) for query in wanted}
    missing = []
    for query in wanted:
        known = log.get(keys[query])
        if known is None:
            missing.append(query)
        else:
            counts["from_earlier_run"] += 1
            yield query, known
    if not missing:
        return
    label = f"describe, attempt {wanted[0].attempt + 1}" if wanted[0].attempt else "describe"

    def keep(query: Query, reply: Reply) -> None:
        # What cannot be read is worth nothing: a rerun, perhaps of a mended server, asks again.
        if readable(reply):
            log.add(keys[query], reply)

    yield from _with_bar(send(missing, keep), label, len(missing))


def _with_bar(
    replies: Iterable[tuple[Query, Reply]], label: str, total: int
) -> Iterator[tuple[Query, Reply]]:
    start, tokens = time.perf_counter(), 0
    with counter(label, total, "answer") as bar:
        for query, reply in replies:
            tokens += reply.completion_tokens
            rate = tokens / max(time.perf_counter() - start, 1e-6)
            bar.set_postfix_str(f"{rate:.0f} tokens/s", refresh=False)
            bar.update(1)
            yield query, reply


def _content(query: Query) -> list[Any]:
    images = [hashlib.sha256(image).hexdigest() for image in query.images]
    return [query.text, images, query.seed]


def _in_order(
    task: Task, params: Asking, source: str, good: dict[tuple[str, str, int], list[str]]
) -> list[Sentence]:
    """Sentence j of answer i is sample i * params.sentences + j."""
    return [
        Sentence(
            entry.class_id,
            text,
            source,
            task.prompt_set,
            prompt_id,
            answer * params.sentences + place,
        )
        for entry in task.classes
        for prompt_id in task.prompts.questions
        for answer in range(params.answers)
        for place, text in enumerate(good.get((entry.class_id, prompt_id, answer), []))
    ]

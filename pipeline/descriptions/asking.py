"""Requests to a model, common to its backends: questions, seeds, answers, retries.

Each answer is a request of its own with a seed of its own, a JSON object
{"sentences": [...]}. One that cannot be read (cut off, broken, empty), or that holds fewer usable
sentences than asked for, is asked again with another seed, up to `retries` times; the attempt
with the most usable sentences is kept, of equals the first. What is missing then is counted.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.descriptions.answer_log import Reply, request_key
from pipeline.descriptions.completeness import COUNTED, Key, count_attempt, count_missing
from pipeline.descriptions.flight import InFlight, with_bar
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Sentence, Task
from pipeline.descriptions.messages import Query, parse_reply
from pipeline.descriptions.queries import (
    answer_of,
    content_of,
    first_queries,
    in_order,
    retry_query,
    seed_of,
)
from pipeline.descriptions.unread import check_some_readable, report

Keep = Callable[[Query, Reply], None]
Send = Callable[[Sequence[Query], Keep], Iterator[tuple[Query, Reply] | InFlight]]
"""Takes all queries and yields each with its reply as soon as it arrives, in any order, and in
between what is in flight. A reply is passed to `Keep` first, from any thread, so that an
interruption loses no answer."""


def collect_answers(
    task: Task,
    params: GenerationParams,
    source: str,
    identity: dict[str, Any],
    send: Send,
    give_up_after: int | None = None,
) -> tuple[list[Sentence], dict[str, Any]]:
    """Sentences of every class x prompt x answer, and counts for provenance.json.

    Args:
        source: the backend's name, for the rows.
        identity: what decides an answer besides query and sampling (revision, dtype, ...).
        give_up_after: answers after which it stops if none of them could be read; None: never.

    Raises:
        UserError: it gave up.
    """
    identity = {"source": source, **identity, **_sampling(params)}
    assert task.log is not None, "the stage gives every backend that queries a model a log"
    queries = first_queries(task, params)
    best: dict[Key, list[str]] = {answer_of(query): [] for query in queries}
    counts = Counter({"answers": len(queries)} | dict.fromkeys(COUNTED, 0))
    task.log.requests.begin({_answer_key(query, identity, task.seed) for query in queries})
    refusals: dict[Key, str] = {}
    for attempt in range(params.retries + 1):
        again = []
        for query, reply in _replies(queries, identity, task, send, counts):
            key, texts = answer_of(query), parse_reply(reply)
            count_attempt(counts, reply, len(texts), params.sentences)
            best[key] = max(best[key], texts[: params.sentences], key=len)
            refusals[key] = reply.refusal
            if len(texts) < params.sentences:
                again.append(query)
            if not any(best.values()):
                check_some_readable(counts, reply, params.model, give_up_after)
        queries = [retry_query(query, task.seed, attempt + 1) for query in again]
        if not queries:
            break
    missing = count_missing(counts, best, params.sentences)
    requests = task.log.requests
    counts["prompt_tokens"] = sum(cost.prompt_tokens for cost in requests.costs)
    counts["completion_tokens"] = sum(cost.completion_tokens for cost in requests.costs)
    refused = report(counts, {key: refusals[key] for key, texts in best.items() if not texts})
    return in_order(task, params, source, best), {
        "counts": dict(counts),
        **missing,
        **requests.statistics(),
        **refused,
    }


def generation_provenance(task: Task, params: GenerationParams) -> dict[str, Any]:
    """The part of provenance.json about the questions and the sampling."""
    return {
        "model": params.model,
        "prompts": task.prompt_set,
        "prompts_version": task.prompts.version,
        "prompts_sha256": task.prompts.digest(),
        "classes_with_gloss": sum(bool(class_entry.gloss) for class_entry in task.classes),
        "exemplars_per_class": task.images_per_class,
        **_images_described(task),
        **task.confusions.provenance(),
        "seed": task.seed,
        "sampling": params.model_dump(include=set(GenerationParams.model_fields) - {"model"}),
    }


def _images_described(task: Task) -> dict[str, Any]:
    if not task.per_image:
        return {}
    images = sum(len(task.exemplars[class_entry.class_id]) for class_entry in task.classes)
    return {"per_image": True, "images": images}


def _sampling(params: GenerationParams) -> dict[str, Any]:
    sampling = params.model_dump(include={"sentences", "temperature", "top_p", "max_tokens"})
    return sampling | {"model": params.model_identity()}


def _replies(
    queries: Sequence[Query],
    identity: dict[str, Any],
    task: Task,
    send: Send,
    counts: Counter[str],
) -> Iterator[tuple[Query, Reply]]:
    """Replies from the log first, then from the model behind a bar with tokens per second."""
    assert task.log is not None
    log, keys = task.log, {query: request_key([identity, *content_of(query)]) for query in queries}
    missing = []
    for query in queries:
        logged = log.get(keys[query])
        if logged is None:
            missing.append(query)
        else:
            counts["from_earlier_run"] += 1
            yield query, logged
    if not missing:
        return
    label = f"describe, attempt {queries[0].attempt + 1}" if queries[0].attempt else "describe"

    def keep(query: Query, reply: Reply) -> None:
        answer = _answer_key(query, identity, task.seed)
        log.requests.add(answer, reply.prompt_tokens, reply.completion_tokens, reply.served_by)
        # Only replies that can be parsed: a rerun asks for the others again, perhaps of a
        # server that was fixed.
        if parse_reply(reply):
            log.add(keys[query], reply)

    yield from with_bar(send(missing, keep), label, len(missing))


def _answer_key(query: Query, identity: dict[str, Any], seed: int) -> str:
    """What the retries of an answer have in common: the key of its first request."""
    return request_key([identity, *content_of(query)[:-1], seed_of(query, 0, seed)])

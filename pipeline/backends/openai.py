"""Descriptions from OpenAI-compatible servers: a shared `vllm serve`, or a paid service.

Needs no GPU and no vLLM here. What was answered is kept when a server goes away or the budget
is used up, and a rerun asks for the rest only. Where the model runs decides no answer: another
server of the same model goes on with the answers that are there. What the servers themselves
say that they are is in provenance.json.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Literal

import openai
from pydantic import field_validator

from pipeline.common.bounds import Few
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.asking import (
    Keep,
    collect_answers,
    generation_provenance,
)
from pipeline.descriptions.budget import read_budget
from pipeline.descriptions.flight import InFlight
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.messages import Query, answer_schema, message_content
from pipeline.descriptions.server_params import ServerParams, api_key
from pipeline.descriptions.servers import Servers

ASKS_MODEL = True
GIVE_UP_AFTER = 20  # answers of which none could be read
# Keys of a request that have parameters of their own, or would change what comes back.
RESERVED = {
    *("model", "messages", "temperature", "top_p", "seed", "random_seed", "max_tokens"),
    *("max_completion_tokens", "response_format", "n", "stream"),
}


class Params(GenerationParams, ServerParams):
    """`describe.options.openai`. What is null is left out of the requests."""

    concurrency: Few
    response_format: Literal["json_schema", "json_schema_bounded", "json_object", "none"]
    limit_field: Literal["max_tokens", "max_completion_tokens"]
    seed_field: Literal["seed", "random_seed"] | None
    extra_body: dict[str, Any]

    @field_validator("extra_body")
    @classmethod
    def _extra_only(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(RESERVED & extra.keys()):
            raise ValueError(f"{taken[0]} has a key of its own here, or is fixed")
        try:
            json.dumps(extra)
        except (TypeError, ValueError) as error:
            raise ValueError(f"cannot be sent as JSON: {error}") from None
        return extra


def describe(task: Task, params: Params) -> Answers:
    """Up to prompts x `answers` x `sentences` sentences per class, source "openai".

    Raises:
        UserError: no key, the budget is used up, nothing can be read of 20 answers, or the server
            cannot be reached, refuses, or is not such a server.
    """
    log, budget = task.log, read_budget()
    assert log is not None, "the stage gives every backend that queries a model a log"
    deciding = params.model_dump(include={"response_format", "seed_field", "extra_body"})
    with Servers(params, api_key(params.api_key_env)) as servers:

        def send(queries: Sequence[Query], keep: Keep) -> Iterator[tuple[Query, Reply] | InFlight]:
            def ask(query: Query) -> Reply:
                budget.take(log.requests)
                reply = servers.ask(query, request_for(query, params))
                keep(query, reply)
                return reply

            return _send(ask, params.concurrency, queries)

        sentences, statistics = collect_answers(
            task, params, "openai", deciding, send, GIVE_UP_AFTER
        )
    versions = {"openai": openai.__version__}
    return Answers(
        sentences, generation_provenance(task, params) | deciding | versions | statistics
    )


def request_for(query: Query, params: Params) -> dict[str, Any]:
    """The arguments of the client's `chat.completions.create`."""
    fields = {
        "temperature": params.temperature,
        "top_p": params.top_p,
        params.limit_field: params.max_tokens,
    }
    extra = dict(params.extra_body)
    if params.seed_field == "seed":
        fields["seed"] = query.seed
    elif params.seed_field:
        extra[params.seed_field] = query.seed
    return {
        "model": params.model,
        "messages": [{"role": "user", "content": message_content(query)}],
        **{name: value for name, value in fields.items() if value is not None},
        **_response_format(params),
        **({"extra_body": extra} if extra else {}),
    }


def _response_format(params: Params) -> dict[str, Any]:
    if params.response_format == "none":
        return {}
    if params.response_format == "json_object":
        return {"response_format": {"type": "json_object"}}
    bounded = params.response_format == "json_schema_bounded"
    schema = answer_schema(params.sentences, bounded)
    named = {"name": "sentences", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _send(
    ask: Callable[[Query], Reply], concurrency: int, queries: Sequence[Query]
) -> Iterator[tuple[Query, Reply] | InFlight]:
    """At most `concurrency` requests at a time, counted until their replies are taken: who stops
    asking for replies has paid for no more. After a failure, or Ctrl-C, nothing new is sent, what
    is under way is still received, then the failure is raised."""
    failure: BaseException | None = None
    unsent, running = list(reversed(queries)), dict[Future[Reply], Query]()
    with ThreadPoolExecutor(concurrency) as pool:
        while unsent or running:
            while unsent and len(running) < concurrency:
                query = unsent.pop()
                running[pool.submit(ask, query)] = query
            yield InFlight(len(running), len(unsent))
            try:
                done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt as stop:
                failure, done = stop, set()
            for future in done:
                query = running.pop(future)
                if error := future.exception():
                    failure = failure or error
                else:
                    yield query, future.result()
            if failure is not None:
                unsent.clear()
    if failure is not None:
        raise failure

"""Descriptions from an OpenAI-compatible server: a shared `vllm serve`, or a paid service.

Needs no GPU and no vLLM here. Time-outs, back-off and retries of failed connections (also
429 and 5xx, honouring Retry-After) are the `openai` package's; what was answered is kept
when the server goes away, and a rerun asks for the rest only.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, Literal

import openai
from pydantic import Field

from pipeline.answer_log import Reply
from pipeline.descriptions import Answers, Task
from pipeline.descriptions._asking import Asking, ask, asked_with
from pipeline.descriptions._messages import Query, answer_schema, message_content
from pipeline.errors import UserError

WHERE = "describe.options.openai"


class Params(Asking):
    """`describe.options.openai`."""

    base_url: str
    api_key_env: str | None
    concurrency: int = Field(ge=1)
    timeout_s: float = Field(gt=0)
    connection_retries: int = Field(ge=0)
    response_format: Literal["json_schema", "json_object", "none"]
    limit_field: Literal["max_tokens", "max_completion_tokens"]


def describe(task: Task, params: Params) -> Answers:
    """Up to prompts x `answers` x `sentences` sentences per class, source "openai".

    Raises:
        UserError: no key, or the server cannot be reached, refuses, or is no such server.
    """
    key = _key(params)
    client = openai.OpenAI(
        base_url=params.base_url,
        api_key=key,
        timeout=params.timeout_s,
        max_retries=params.connection_retries,
    )

    def send(queries: Sequence[Query]) -> Iterator[tuple[Query, Reply]]:
        return _send(client, key, params, queries)

    identity = {"response_format": params.response_format}
    with client:
        sentences, made = ask(task, params, "openai", identity, send)
    versions = {"openai": openai.__version__}
    settings = {"response_format": params.response_format}
    return Answers(sentences, asked_with(task, params) | settings | versions | made)


def _key(params: Params) -> str:
    if params.api_key_env is None:
        return "none"  # the client insists on one
    key = os.environ.get(params.api_key_env, "")
    if not key:
        raise UserError(
            f"{WHERE}: the environment has no {params.api_key_env}; export it, or set "
            "api_key_env: null for a server that asks for no key"
        )
    return key


def _send(
    client: openai.OpenAI, key: str, params: Params, queries: Sequence[Query]
) -> Iterator[tuple[Query, Reply]]:
    """At most `concurrency` requests at a time. After a failure nothing new is sent, what
    is under way is still received, then the failure is raised."""
    failure: BaseException | None = None
    with ThreadPoolExecutor(params.concurrency) as pool:
        waiting = {pool.submit(_complete, client, params, query): query for query in queries}
        try:
            for done in as_completed(waiting):
                if done.cancelled():
                    continue
                if error := done.exception():
                    failure = failure or error
                    _cancel(waiting)
                else:
                    yield waiting[done], done.result()
        finally:
            _cancel(waiting)
    if failure is not None:
        raise _explained(failure, key, params) from None


def _cancel(waiting: dict[Future[Reply], Query]) -> None:
    for future in waiting:
        future.cancel()


def _complete(client: openai.OpenAI, params: Params, query: Query) -> Reply:
    limit: Any = {params.limit_field: params.max_tokens}
    found = client.chat.completions.create(
        model=params.model,
        messages=[{"role": "user", "content": message_content(query)}],
        temperature=params.temperature,
        top_p=params.top_p,
        seed=query.seed,
        **limit,
        **_response_format(params),
    )
    if isinstance(found, str) or not found.choices:
        raise UserError(f"the answer is no chat completion: {str(found)[:80]!r}")
    choice, usage = found.choices[0], found.usage
    return Reply(
        choice.message.content or "",
        choice.finish_reason != "length",
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
    )


def _response_format(params: Params) -> Any:
    if params.response_format == "none":
        return {}
    if params.response_format == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "sentences", "strict": True, "schema": answer_schema(params.sentences)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _explained(error: BaseException, key: str, params: Params) -> BaseException:
    """A UserError for what the user or the server can mend; anything else as it is."""
    reason = " ".join(str(error).split())
    if params.api_key_env:
        reason = reason.replace(key, "***")
    reason = reason[:300]
    if isinstance(error, openai.APITimeoutError):
        reason = f"no answer within timeout_s = {params.timeout_s:g}"
    elif isinstance(error, openai.APIConnectionError):
        reason = (
            f"cannot be reached ({error.__cause__ or reason}); start it, mend base_url, or take "
            "descriptions that somebody made (`dvc pull describe`)"
        )
    elif isinstance(error, openai.RateLimitError):
        reason = f"refuses, too many requests; lower concurrency ({reason})"
    elif not isinstance(error, openai.APIError | UserError | ValueError):
        return error
    return UserError(
        f"{WHERE}: the server at {params.base_url}, model {params.model}: {reason}; "
        "answers so far are kept, run again to continue"
    )

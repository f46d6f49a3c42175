"""Descriptions from an OpenAI-compatible server: a shared `vllm serve`, or a paid service.

Needs no GPU and no vLLM here. Time-outs, back-off and retries of failed connections (also
429 and 5xx, honouring Retry-After) are the `openai` package's; what was answered is kept
when the server goes away, and a rerun asks for the rest only.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any, Literal

import openai
from pydantic import Field

from pipeline.common.errors import UserError
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.asking import (
    GenerationParams,
    Keep,
    collect_answers,
    generation_provenance,
)
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.messages import Query, answer_schema, message_content

ASKS_MODEL = True
WHERE = "describe.options.openai"


class Params(GenerationParams):
    """`describe.options.openai`."""

    base_url: str
    api_key_env: str | None
    concurrency: int = Field(ge=1)
    timeout_s: float = Field(gt=0)
    connection_retries: int = Field(ge=0)
    response_format: Literal["json_schema", "json_schema_bounded", "json_object", "none"]
    limit_field: Literal["max_tokens", "max_completion_tokens"]


def describe(task: Task, params: Params) -> Answers:
    """Up to prompts x `answers` x `sentences` sentences per class, source "openai".

    Raises:
        UserError: no key, or the server cannot be reached, refuses, or is not such a server.
    """
    key = _key(params)
    client = _client(params, key)

    def send(queries: Sequence[Query], keep: Keep) -> Iterator[tuple[Query, Reply]]:
        return _send(client, key, params, queries, keep)

    # Not the URL itself: it may hold a password, and provenance goes to everybody.
    server_hash = hashlib.sha256(params.base_url.encode()).hexdigest()
    identity = {"response_format": params.response_format, "server": server_hash}
    with client:
        sentences, statistics = collect_answers(task, params, "openai", identity, send)
    versions = {"openai": openai.__version__}
    settings = {"response_format": params.response_format}
    return Answers(
        sentences, generation_provenance(task, params) | settings | versions | statistics
    )


def _client(params: Params, key: str) -> openai.OpenAI:
    try:
        return openai.OpenAI(
            base_url=params.base_url,
            api_key=key,
            timeout=params.timeout_s,
            max_retries=params.connection_retries,
        )
    except Exception as error:  # of the client or the library below it
        raise UserError(
            f"{WHERE}: base_url {_without_password(params.base_url)!r}: {error}"
        ) from None


def _key(params: Params) -> str:
    if params.api_key_env is None:
        return "none"  # the client insists on one
    key = os.environ.get(params.api_key_env, "").strip()
    if not key:
        raise UserError(
            f"{WHERE}: the environment has no {params.api_key_env}; export it, or set "
            "api_key_env: null for a server that asks for no key"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{WHERE}: {params.api_key_env} holds what no key can; export it again")
    return key


def _send(
    client: openai.OpenAI, key: str, params: Params, queries: Sequence[Query], keep: Keep
) -> Iterator[tuple[Query, Reply]]:
    """At most `concurrency` requests at a time. After a failure, or Ctrl-C, nothing new is
    sent, what is under way is still received, then the failure is raised."""
    failure: BaseException | None = None
    with ThreadPoolExecutor(params.concurrency) as pool:
        waiting = {pool.submit(_kept, client, params, query, keep): query for query in queries}
        try:
            while waiting:
                try:
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                except KeyboardInterrupt as stop:
                    failure, done = stop, set()
                for future in done:
                    query = waiting.pop(future)
                    if error := future.exception():
                        failure = failure or error
                    else:
                        yield query, future.result()
                if failure is not None:
                    waiting = {f: query for f, query in waiting.items() if not f.cancel()}
        finally:
            pool.shutdown(cancel_futures=True)
    if failure is not None:
        raise _explained(failure, key, params) from None


def _kept(client: openai.OpenAI, params: Params, query: Query, keep: Keep) -> Reply:
    reply = _complete(client, params, query)
    keep(query, reply)
    return reply


def _complete(client: openai.OpenAI, params: Params, query: Query) -> Reply:
    limit: Any = {params.limit_field: params.max_tokens}
    completion = client.chat.completions.create(
        model=params.model,
        messages=[{"role": "user", "content": message_content(query)}],
        temperature=params.temperature,
        top_p=params.top_p,
        seed=query.seed,
        **limit,
        **_response_format(params),
    )
    return _reply(completion)


def _reply(completion: Any) -> Reply:
    """The reply in a completion, whose form the client does not check.

    Raises:
        UserError: it is not a chat completion (the server may be something else).
    """
    try:
        [choice, *_] = completion.choices
        text = choice.message.content
        complete = choice.finish_reason != "length"
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"the answer is no chat completion: {str(completion)[:80]!r}") from None
    counts = [
        getattr(completion.usage, f"{kind}_tokens", None) for kind in ("prompt", "completion")
    ]
    tokens = [count if isinstance(count, int) else 0 for count in counts]
    return Reply(text if isinstance(text, str) else "", complete, *tokens)


def _response_format(params: Params) -> Any:
    if params.response_format == "none":
        return {}
    if params.response_format == "json_object":
        return {"response_format": {"type": "json_object"}}
    bounded = params.response_format == "json_schema_bounded"
    schema = answer_schema(params.sentences, bounded)
    named = {"name": "sentences", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _explained(error: BaseException, key: str, params: Params) -> BaseException:
    """A UserError for what the user or the server can fix; anything else as it is."""
    reason = str(error)
    if isinstance(error, openai.APITimeoutError):
        reason = f"no answer within timeout_s = {params.timeout_s:g}"
    elif isinstance(error, openai.APIConnectionError):
        reason = (
            f"cannot be reached ({error.__cause__ or reason}); start it, fix base_url, or take "
            "descriptions that somebody made (`dvc pull stages/dvc.yaml:describe`)"
        )
    elif isinstance(error, openai.RateLimitError):
        reason = f"refuses, too many requests; lower concurrency ({reason})"
    elif not isinstance(error, openai.OpenAIError | UserError | ValueError):
        return error
    if params.api_key_env:
        reason = reason.replace(key, "***")
    return UserError(
        f"{WHERE}: the server at {_without_password(params.base_url)}, model {params.model}: "
        f"{' '.join(reason.split())[:400]}; answers so far are kept, run again to continue"
    )


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)

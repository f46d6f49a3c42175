"""Servers of the OpenAI protocol that answer for one model, in turn, and what goes wrong with them.

Time-outs, back-off and retries of failed connections (also 429 and 5xx) are the `openai`
package's; what is left of its errors becomes one line here.
"""

import threading
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

import openai

from pipeline.common import secrets
from pipeline.common.errors import UserError
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.completion import own_words, redacted_words, refusal_in, reply_of
from pipeline.descriptions.messages import Query
from pipeline.descriptions.notices import say
from pipeline.descriptions.rate_limit import LONGEST, heeding, wait_asked_for
from pipeline.descriptions.server_params import (
    WHERE,
    ServerParams,
    base_urls,
)


class Server(NamedTuple):
    """shown: the URL without a password."""

    shown: str
    client: openai.OpenAI


class Servers:
    """All servers of a run. One that goes away is left out until the run ends."""

    def __init__(self, params: ServerParams, key: str) -> None:
        self.params = params
        # what no message and no output may show
        self.secrets = [key] if params.api_key_env else []
        self.secrets += [part for url in base_urls(params) for part in secrets.of_url(url)]
        self._headers = _key_headers(params, key)
        self._alive = [_server(url, params, key) for url in base_urls(params)]
        self._all = list(self._alive)
        self._turn = 0
        self._choosing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for server in self._all:
            server.client.close()

    def ask(self, query: Query, request: dict[str, Any]) -> Reply:
        """What the next server in turn replies; from any thread.

        Args:
            request: arguments of the client's `chat.completions.create`.

        Raises:
            UserError: the server refuses, is no such server, or none is left.
        """
        while True:
            server = self._next()
            try:
                completion = server.client.chat.completions.create(**request, **self._headers)
                return self._clean(reply_of(completion))
            except (openai.APIConnectionError, openai.InternalServerError) as error:
                if not self._leave_out(server):
                    raise self._explained(error, server, query, request["model"]) from None
            except (openai.OpenAIError, ValueError, UserError) as error:
                if words := refusal_in(error, self.secrets):
                    return Reply("", True, 0, 0, refusal=words)
                raise self._explained(error, server, query, request["model"]) from None

    def _clean(self, reply: Reply) -> Reply:
        """A reply without the key, which a server may echo."""
        clean = partial(secrets.without, self.secrets)
        return reply._replace(
            text=clean(reply.text), refusal=clean(reply.refusal), thoughts=clean(reply.thoughts),
            served_by=clean(reply.served_by),
        )  # fmt: skip

    def _explained(self, error: Exception, server: Server, query: Query, model: str) -> UserError:
        """One line about a request that failed: server, model, class, question and reason."""
        return UserError(
            f"{WHERE}: the server at {server.shown}, model {model}, class '{query.class_id}', "
            f"question '{query.prompt_id}': {reason(error, self.params, self.secrets)}; answers so "
            "far are kept, run again to continue"
        )

    def _next(self) -> Server:
        with self._choosing:
            self._turn += 1
            return self._alive[self._turn % len(self._alive)]

    def _leave_out(self, server: Server) -> bool:
        """Whether another server is there to ask instead."""
        with self._choosing:
            if server in self._alive:
                if len(self._alive) == 1:
                    return False
                self._alive.remove(server)
                say(f"describe: {server.shown} does not answer any more, the other servers go on")
            return True


def _key_headers(params: ServerParams, key: str) -> dict[str, Any]:
    """Arguments of a request that put the key into another header than the client does."""
    if params.key_header.lower() == "authorization":
        return {}
    return {"extra_headers": {params.key_header: key, "Authorization": openai.Omit()}}


def _server(url: str, params: ServerParams, key: str) -> Server:
    shown = secrets.redacted(url)
    if params.api_key_env and params.key_header.lower() == "authorization" and secrets.of_url(url):
        raise UserError(
            f"{WHERE}: base_url {shown!r} has a user, and api_key_env names a key; both are sent "
            "as Authorization: take the user out, api_key_env: null, or name another key_header"
        )
    try:
        client = openai.OpenAI(
            base_url=url,
            api_key=key,
            timeout=params.timeout_s,
            max_retries=params.connection_retries,
            default_query=params.query,
            http_client=openai.DefaultHttpxClient(
                event_hooks={
                    "request": [partial(_keep_key, urlsplit(url), params.key_header)],
                    "response": [heeding(f"the server at {shown}", say)],
                }
            ),
        )
    except Exception as error:  # of the client or the library below it
        raise UserError(f"{WHERE}: base_url {shown!r}: {secrets.redacted(str(error))}") from None
    return Server(shown, client)


def _keep_key(server: SplitResult, header: str, request: Any) -> None:
    """Send the key to nobody else: the client follows redirects, and takes only Authorization
    out."""
    asked = urlsplit(str(request.url))
    if (asked.scheme, asked.hostname, asked.port) != (server.scheme, server.hostname, server.port):
        request.headers.pop(header, None)


def reason(error: Exception, params: ServerParams, hidden: Sequence[str]) -> str:
    """What went wrong and what to do, in one line without the secrets `hidden`."""
    if isinstance(error, openai.APITimeoutError):
        return f"no answer within timeout_s = {params.timeout_s:g}"
    if isinstance(error, openai.APIConnectionError):
        return (
            f"cannot be reached ({_words(error.__cause__ or error, hidden)}); start it, fix "
            "base_url, or take descriptions that somebody made "
            "(`dvc pull stages/dvc.yaml:describe`)"
        )
    if isinstance(error, openai.APIStatusError):
        words = own_words(error, hidden)
        if error.status_code == 429:
            wait = wait_asked_for(error.response.headers) or 0
            later = f"; it asks to wait {wait:.0f} s" if wait > LONGEST else ""
            return f"refuses, too many requests; lower concurrency ({words}){later}"
        return f"HTTP {error.status_code}: {words}{_advice(error.status_code, params)}"
    return _words(error, hidden)


def _words(error: BaseException, hidden: Sequence[str]) -> str:
    return redacted_words(str(error), hidden)


def _advice(status: int, params: ServerParams) -> str:
    if status in (401, 403):
        where = f"does {params.api_key_env} hold" if params.api_key_env else "does api_key_env name"
        return f"; {where} the key of this server?"
    if status == 404:
        return (
            "; does base_url end where the API begins (mostly in /v1), and is this the name that "
            "the server knows the model by (it lists them under <base_url>/models)?"
        )
    if status in (400, 422):
        return (
            "; what a server does not take is left out: null for temperature, top_p, max_tokens "
            "or seed_field, none for response_format"
        )
    return ""

"""Servers of the OpenAI protocol that stop with the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.openai_server import Response, Server
from tests.support.providers import Provider, ProviderServer


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(answer: Callable[[int, dict[str, Any]], Response]) -> Server:
        started.append(Server(answer))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def provide() -> Iterator[Callable[[Provider], ProviderServer]]:
    started: list[ProviderServer] = []

    def start(provider: Provider) -> ProviderServer:
        started.append(ProviderServer(provider))
        return started[-1]

    yield start
    for server in started:
        server.stop()

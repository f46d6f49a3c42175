"""Requests under way, and the bar that shows them from the first second."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.common.progress import counter
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.messages import Query


class InFlight(NamedTuple):
    """How many requests a model works on, and how many are not sent yet."""

    running: int
    waiting: int


def with_bar(
    replies: Iterable[tuple[Query, Reply] | InFlight], label: str, total: int
) -> Iterator[tuple[Query, Reply]]:
    """The replies, behind a bar with tokens per second and what is in flight."""
    start, tokens, flight, shown = time.perf_counter(), 0, "", 0.0
    with counter(label, total, "answer") as bar:
        for reply in replies:
            now = time.perf_counter()
            if isinstance(reply, InFlight):
                flight = f", {reply.running} running, {reply.waiting} waiting"
                if now - shown >= bar.mininterval:  # before the first answer there is no update
                    bar.set_postfix_str(_rate(tokens, now - start) + flight)
                    shown = now
                continue
            tokens += reply[1].completion_tokens
            bar.set_postfix_str(_rate(tokens, now - start) + flight, refresh=False)
            bar.update(1)
            yield reply


def _rate(tokens: int, seconds: float) -> str:
    return f"{tokens / max(seconds, 1e-6):.0f} tokens/s"

"""Answers as they arrive, behind a bar with tokens per second and what the model is busy with."""

import math
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.common.progress import counter
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.messages import Query


class Load(NamedTuple):
    """How many requests are being answered, and how many wait, at this moment."""

    running: int
    waiting: int


def with_bar(
    replies: Iterable[tuple[Query, Reply] | Load], label: str, total: int
) -> Iterator[tuple[Query, Reply]]:
    """The replies behind a bar: before the first one ends, minutes can pass in which only the
    load tells a busy model from a stopped one."""
    start, tokens, load, shown_at = time.perf_counter(), 0, "", -math.inf
    with counter(label, total, "answer") as bar:
        for item in replies:
            now = time.perf_counter()
            if isinstance(item, Load):
                load = f", {item.running} running, {item.waiting} waiting"
            else:
                tokens += item[1].completion_tokens
            rate = tokens / max(now - start, 1e-6)
            bar.set_postfix_str(f"{rate:.0f} tokens/s{load}", refresh=False)
            if not isinstance(item, Load):
                bar.update(1)
                yield item
            elif now - shown_at >= max(bar.mininterval, 1):
                bar.refresh()
                shown_at = now

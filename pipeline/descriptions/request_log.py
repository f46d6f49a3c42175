"""What each answered request cost, one JSON line each, so that an interrupted description counts
the requests, tokens and seconds of all its runs, also of answers that could not be read."""

import json
import threading
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError, listed
from pipeline.descriptions.json_lines import append_line, complete_lines
from pipeline.descriptions.notices import say


class Cost(NamedTuple):
    """Of one request. answer: key of the answer it was for, the same for every retry; seconds:
    since the run's answer before it, so that a sum is the time that passed; served_by: the model
    that the server named, "" where none."""

    answer: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    served_by: str


class RequestLog:
    """The requests in `path`. Of the description that was begun, in all its runs: `costs` of each
    request, and `tokens`, of questions and answers together."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._others = [_read(path, number, line) for number, line in complete_lines(path)]
        self._writing = threading.Lock()
        self.costs: list[Cost] = []
        self.begin(())

    def begin(self, answers: Collection[str]) -> None:
        """From now on the requests are for these answers; the clock starts."""
        known, self._others = self._others + self.costs, []
        self.costs, self.tokens, self._models = [], 0, set[str]()
        self._last = time.perf_counter()
        for cost in known:
            if cost.answer in answers:
                self._note(cost)
            else:
                self._others.append(cost)

    def add(self, answer: str, prompt_tokens: int, completion_tokens: int, served_by: str) -> None:
        """Note an answered request, from any thread; a model that is not the one of the requests
        before is named."""
        with self._writing:
            now = time.perf_counter()
            seconds = round(now - self._last, 3)
            cost = Cost(answer, prompt_tokens, completion_tokens, seconds, served_by)
            self._last = now
            before = sorted(self._models)
            self._note(cost)
            append_line(self.path, json.dumps(cost) + "\n")
        if before and served_by and served_by not in before:
            say(
                f"describe: warning: the server names the model {served_by} now, before it was "
                f"{listed(before, 3)}; provenance.json counts the answers of each"
            )

    def _note(self, cost: Cost) -> None:
        self.costs.append(cost)
        self.tokens += cost.prompt_tokens + cost.completion_tokens
        self._models |= {cost.served_by} - {""}

    def statistics(self) -> dict[str, Any]:
        """Requests, seconds and, where servers named one, answers of each model, for provenance."""
        models = Counter(cost.served_by for cost in self.costs if cost.served_by)
        seconds = round(sum(cost.seconds for cost in self.costs), 1)
        statistics: dict[str, Any] = {"requests": len(self.costs), "generation_seconds": seconds}
        return statistics | ({"served_by": dict(models)} if models else {})

    def forget(self) -> None:
        """Drop the costs of the description, once its output is written."""
        if not self._others:
            self.path.unlink(missing_ok=True)
            return
        with replacing_file(self.path) as partial:
            lines = (json.dumps(cost) + "\n" for cost in self._others)
            partial.write_text("".join(lines), encoding="utf-8")


def _read(path: Path, number: int, line: bytes) -> Cost:
    try:
        return Cost(*json.loads(line))
    except (ValueError, TypeError, RecursionError):
        raise UserError(
            f"{path}: line {number} is not the cost of a request; delete the file (costs of "
            "earlier runs are then not counted, their answers are kept)"
        ) from None

"""A limit on what a description may cost: SAFT_MAX_REQUESTS and SAFT_MAX_TOKENS_TOTAL.

Environment, not parameters: they change no finished result, and raising one re-runs nothing.
"""

import os
import threading

from pipeline.common.errors import UserError
from pipeline.descriptions.request_log import RequestLog

REQUESTS, TOKENS = "SAFT_MAX_REQUESTS", "SAFT_MAX_TOKENS_TOTAL"


class Budget:
    """Requests, and tokens of questions and answers, in all runs of one description; None: any
    number. Answers that are under way when the tokens are used up still come in."""

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        self.requests, self.tokens = requests, tokens
        self._begun = 0
        self._taking = threading.Lock()

    def take(self, log: RequestLog) -> None:
        """Count one request that is about to be sent.

        Raises:
            UserError: it would exceed the budget.
        """
        with self._taking:
            self._begun = max(self._begun, len(log.costs))
            if self.requests is not None and self._begun >= self.requests:
                raise _used_up(f"{REQUESTS}={self.requests}")
            if self.tokens is not None and log.tokens >= self.tokens:
                raise _used_up(f"{TOKENS}={self.tokens}")
            self._begun += 1


def read_budget() -> Budget:
    """The budget that the environment sets."""
    return Budget(_limit(REQUESTS), _limit(TOKENS))


def _limit(variable: str) -> int | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"describe: {variable}={text!r} is no whole number; unset it for no limit")
    return int(text)


def _used_up(limit: str) -> UserError:
    return UserError(
        f"describe: the budget {limit} is used up, all runs of this description together; answers "
        "so far are kept, raise it and run again to continue"
    )

"""Answers of a model as they come in, one JSON line each, so that none is paid for twice.

An answer is looked up by the content of its request (model, message, images, sampling, seed),
not by its position in a run: an interrupted run, or one with more classes or more retries,
continues with the answers that are there. An incomplete last line, left by a kill, is dropped.
"""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError
from pipeline.descriptions.json_lines import append_line, complete_lines
from pipeline.descriptions.request_log import RequestLog

_LOGGED = 4  # fields of a reply that an answer needs


class Reply(NamedTuple):
    """The text of a model; complete: it ended by itself, not at the token limit.

    refusal: the words in which the model or a filter declined; then there is no text.
    thoughts: the model's reasoning, where it came instead of a text; never an answer.
    served_by: what the server says that the model is.
    """

    text: str
    complete: bool
    prompt_tokens: int
    completion_tokens: int
    refusal: str = ""
    thoughts: str = ""
    served_by: str = ""


def request_key(request: Any) -> str:
    """sha256 of a JSON-serialisable request."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _line(key: str, reply: Reply) -> str:
    return json.dumps([key, *reply[:_LOGGED]]) + "\n"


class AnswerLog:
    """The replies in `path`, by request key; `requests` is the log of what they cost, beside it.
    One process writes (see pipeline.common.scratch), from any of its threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: dict[str, Reply] = {}
        self.used: set[str] = set()
        self.requests = RequestLog(path.with_name("requests.jsonl"))
        self._writing = threading.Lock()
        self._read()

    def get(self, key: str) -> Reply | None:
        """The reply to a request, or None."""
        self.used.add(key)
        return self.replies.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """Store a reply; it is on disk when this returns."""
        with self._writing:
            self.used.add(key)
            self.replies[key] = reply
            append_line(self.path, _line(key, reply))

    def forget_used(self) -> None:
        """Drop the replies that this run used, once its output is written; those to other
        requests, of a run that was interrupted, stay."""
        self.requests.forget()
        unused = {key: reply for key, reply in self.replies.items() if key not in self.used}
        if not unused:
            self.path.unlink(missing_ok=True)
            return
        with replacing_file(self.path) as partial:
            partial.write_text("".join(_line(*item) for item in unused.items()), encoding="utf-8")

    def _read(self) -> None:
        for number, line in complete_lines(self.path):
            try:
                key, *values = json.loads(line)
                self.replies[key] = Reply(*values)
            except (ValueError, TypeError, RecursionError):
                raise UserError(
                    f"{self.path}: line {number} is not an answer; delete the file to ask all again"
                ) from None

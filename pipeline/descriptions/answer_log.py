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


class Reply(NamedTuple):
    """The text of a model; complete: it ended by itself, not at the token limit."""

    text: str
    complete: bool
    prompt_tokens: int
    completion_tokens: int


def request_key(request: Any) -> str:
    """sha256 of a JSON-serialisable request."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _line(key: str, reply: Reply) -> str:
    return json.dumps([key, *reply]) + "\n"


class AnswerLog:
    """The replies in `path`, by request key. One process writes (see pipeline.common.scratch), from
    any of its threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replies: dict[str, Reply] = {}
        self.used: set[str] = set()
        self._writing = threading.Lock()
        if path.exists():
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
            self._append(_line(key, reply))

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def forget_used(self) -> None:
        """Drop the replies that this run used, once its output is written; those to other
        requests, of a run that was interrupted, stay."""
        unused = {key: reply for key, reply in self.replies.items() if key not in self.used}
        if not unused:
            self.path.unlink(missing_ok=True)
            return
        with replacing_file(self.path) as partial:
            partial.write_text("".join(_line(*item) for item in unused.items()), encoding="utf-8")

    def _read(self) -> None:
        complete_bytes = 0
        content = self.path.read_bytes()
        for line_number, line in enumerate(content.splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break
            complete_bytes += len(line)
            if not line.strip(b"\0 \r\n"):  # zeros that a crash of the machine leaves in a block
                continue
            try:
                key, *values = json.loads(line)
                self.replies[key] = Reply(*values)
            except (ValueError, TypeError, RecursionError):
                raise UserError(
                    f"{self.path}: line {line_number} is not an answer; delete the file to ask "
                    "all again"
                ) from None
        if complete_bytes < len(content):
            with self.path.open("r+b") as file:
                file.truncate(complete_bytes)

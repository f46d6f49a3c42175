"""The openai backend asked by a test: its parameters, its answers, its errors."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.backends import openai as backend
from pipeline.common.errors import UserError
from pipeline.common.params import validate
from pipeline.descriptions.answer_log import AnswerLog
from pipeline.descriptions.interface import Answers, Task
from tests.support.tasks import CLASSES, OPTIONS, PROMPTS


def params(url: str | list[str], **changes: Any) -> backend.Params:
    values = OPTIONS | {
        "base_url": url, "api_key_env": None, "concurrency": 4, "timeout_s": 60.0,
        "connection_retries": 0, "response_format": "json_schema", "limit_field": "max_tokens",
        "key_header": "Authorization", "query": {}, "seed_field": "seed", "extra_body": {},
    }  # fmt: skip
    return validate(values | changes, backend.Params, "params.yaml: describe.options.openai")


def describe(folder: Path, url: str | list[str], exemplars: Any = None, **changes: Any) -> Answers:
    task = Task(CLASSES, "cupl", PROMPTS, exemplars or {}, 7, AnswerLog(folder / "answers.jsonl"))
    return backend.describe(task, params(url, **changes))


def refused(
    folder: Path, url: str | list[str], begins: str = "describe.options.openai: ", **changes: Any
) -> str:
    with pytest.raises(UserError) as caught:
        describe(folder, url, **changes)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(begins)
    return message


def kept(folder: Path) -> int:
    log = folder / "answers.jsonl"
    return len(log.read_bytes().splitlines()) if log.exists() else 0

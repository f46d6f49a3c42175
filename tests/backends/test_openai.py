"""The openai backend against a real HTTP server on loopback that misbehaves on demand."""

import json
import threading
import time
from typing import Any

import pytest

from pipeline.backends import openai as backend
from pipeline.common.errors import UserError
from pipeline.descriptions import asking
from pipeline.descriptions.answer_log import AnswerLog, Reply
from pipeline.descriptions.interface import Task
from tests.support.openai_backend import describe, kept, params, refused
from tests.support.openai_server import Response, completion, refusal
from tests.support.tasks import CLASSES, PICTURES, PROMPTS

LIMITS = {"minLength": 8, "maxLength": 300}
KEY = "sk-very-secret-0123456789"


def test_every_request_is_complete_and_answers_are_matched(serve, tmp_path):
    server = serve(lambda number, body: completion(body))
    answers = describe(tmp_path, server.url)
    assert len(server.bodies) == 30
    body = server.bodies[0]
    assert set(body) == {
        "model", "messages", "temperature", "top_p", "seed", "max_tokens", "response_format",
    }  # fmt: skip
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["sentences"]["minItems"] == 3
    seeds = {m["messages"][0]["content"]: m["seed"] for m in server.bodies}
    assert len({m["seed"] for m in server.bodies}) == 30
    assert all("JSON object" in message for message in seeds)
    assert len(answers.sentences) == 90
    assert {s.source for s in answers.sentences} == {"openai"}
    seeds = {int(s.text.split()[0]) for s in answers.sentences}
    assert seeds == {m["seed"] for m in server.bodies}
    counts = answers.provenance["counts"]
    assert (counts["prompt_tokens"], counts["completion_tokens"]) == (210, 90)


def test_a_password_in_the_url_is_not_shown(tmp_path):
    message = refused(tmp_path, "http://me:secret@127.0.0.1:9/v1")
    assert "http://***@127.0.0.1:9/v1" in message
    assert "secret" not in message


def test_ctrl_c_while_an_answer_is_worked_on_loses_none(serve, tmp_path, monkeypatch):
    server = serve(lambda number, body: completion(body))
    task = Task(CLASSES, "cupl", PROMPTS, {}, 7, AnswerLog(tmp_path / "answers.jsonl"))
    real, calls = asking.parse_reply, []

    def interrupted(reply: Reply) -> list[str]:
        if threading.current_thread() is threading.main_thread():
            calls.append(1)
            if len(calls) == 5:
                raise KeyboardInterrupt
        return real(reply)

    monkeypatch.setattr(asking, "parse_reply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backend.describe(task, params(server.url))
    assert kept(tmp_path) == len(server.bodies)


def test_at_most_so_many_requests_are_under_way(serve, tmp_path):
    def slow(number: int, body: dict[str, Any]) -> Response:
        time.sleep(0.02)
        return completion(body)

    server = serve(slow)
    describe(tmp_path, server.url, concurrency=3)
    assert server.most == 3


def test_limits_and_formats_of_other_servers(serve, tmp_path):
    server = serve(lambda number, body: completion(body))
    describe(tmp_path, server.url, limit_field="max_completion_tokens", response_format="none")
    assert "max_tokens" not in server.bodies[0]
    assert server.bodies[0]["max_completion_tokens"] == 256
    assert "response_format" not in server.bodies[0]
    describe(tmp_path, server.url, response_format="json_object")
    assert server.bodies[-1]["response_format"] == {"type": "json_object"}
    for response_format, items in (("json_schema", {}), ("json_schema_bounded", LIMITS)):
        describe(tmp_path, server.url, response_format=response_format)
        sent = server.bodies[-1]["response_format"]
        assert sent["type"] == "json_schema"
        sentences = sent["json_schema"]["schema"]["properties"]["sentences"]
        assert sentences["items"] == {"type": "string"} | items


def test_exemplars_travel_as_data_urls(serve, tmp_path):
    server = serve(lambda number, body: completion(body))
    describe(tmp_path, server.url, PICTURES)
    content = server.bodies[0]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["image_url", "image_url", "text"]


def test_429_and_503_are_sent_again_with_back_off(serve, tmp_path):
    def busy(number: int, body: dict[str, Any]) -> Response:
        if number < 2:
            return refusal(429 if number else 503, "slow down", **{"Retry-After": "0.05"})
        return completion(body)

    server = serve(busy)
    answers = describe(tmp_path, server.url, connection_retries=3)
    assert len(server.bodies) == 32
    assert len(answers.sentences) == 90


def test_too_many_429_end_in_one_line_and_keep_what_was_answered(serve, tmp_path):
    def busy(number: int, body: dict[str, Any]) -> Response:
        return completion(body) if number < 12 else refusal(429, "quota of today is used up")

    server = serve(busy)
    message = refused(tmp_path, server.url)
    assert "too many requests; lower concurrency" in message
    assert "quota of today" in message
    assert "answers so far are kept, run again to continue" in message
    assert kept(tmp_path) == 12
    assert len(server.bodies) <= 12 + 2 * 4, "nothing new is sent after the first refusal"
    server.answer = lambda number, body: completion(body)
    before = len(server.bodies)
    answers = describe(tmp_path, server.url)
    assert len(server.bodies) - before == 18
    assert answers.provenance["counts"]["from_earlier_run"] == 12
    assert answers.sentences == describe(tmp_path / "whole", server.url).sentences


def test_a_server_that_is_down_or_goes_down(serve, tmp_path):
    server = serve(lambda number, body: completion(body))
    url = server.url
    server.http.shutdown()
    server.http.server_close()
    message = refused(tmp_path, url)
    assert "cannot be reached" in message
    assert "start it, fix base_url, or take" in message
    assert "dvc pull stages/dvc.yaml:describe" in message


def test_a_slow_server_is_given_up(serve, tmp_path):
    def slow(number: int, body: dict[str, Any]) -> Response:
        time.sleep(0.5)
        return completion(body)

    message = refused(tmp_path, serve(slow).url, timeout_s=0.1)
    assert "no answer within timeout_s = 0.1" in message


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_what_the_server_refuses_is_passed_on(serve, tmp_path, status):
    server = serve(lambda number, body: refusal(status, "the model `x` does not exist"))
    message = refused(tmp_path, server.url)
    assert "model maker/model" in message
    assert "the model `x` does not exist" in message


def test_broken_json_in_an_answer_is_asked_again(serve, tmp_path):
    def broken(number: int, body: dict[str, Any]) -> Response:
        if number == 0:
            return completion(body, '{"sentences": ["cut', "length")
        if number == 1:
            return completion(body, "I'm sorry, but no.")
        return completion(body)

    answers = describe(tmp_path, serve(broken).url)
    counts = answers.provenance["counts"]
    assert (counts["truncated"], counts["unreadable"], counts["lost"]) == (1, 1, 0)
    assert len(answers.sentences) == 90


@pytest.mark.parametrize(
    "response",
    [
        (200, {"Content-Type": "text/html"}, "<html>log in first</html>"),
        (200, {"Content-Type": "application/json"}, "{nonsense"),
        *(
            (200, {"Content-Type": "application/json"}, body)
            for body in (
                '{"choices": []}',
                "[]",
                "null",
                "3",
                '{"choices": [{}]}',
                '{"choices": [null]}',
                '{"choices": {}}',
                '{"choices": "a"}',
                '{"choices": [{"message": null}]}',
            )
        ),
    ],
)
def test_what_is_no_such_server_is_one_line(serve, tmp_path, response):
    server = serve(lambda number, body: response)
    assert server.url in refused(tmp_path, server.url)


@pytest.mark.parametrize("content", [["a"], {"a": 1}, 3, None, '["\\ud850"]', "[" * 90_000])
def test_odd_content_is_asked_again_and_never_a_traceback(serve, tmp_path, content):
    def odd(number: int, body: dict[str, Any]) -> Response:
        status, headers, text = completion(body)
        if number == 0:
            answer = json.loads(text)
            answer["choices"][0]["message"]["content"] = content
            answer["usage"] = {}
            text = json.dumps(answer)
        return status, headers, text

    answers = describe(tmp_path, serve(odd).url)
    counts = answers.provenance["counts"]
    assert (counts["unreadable"], counts["lost"]) == (1, 0)
    assert len(answers.sentences) == 90


def test_a_url_that_is_none_is_one_line(tmp_path):
    assert "base_url 'http://[::1'" in refused(tmp_path, "http://[::1")


def test_a_server_that_moved_goes_on_and_another_model_is_named(serve, tmp_path, capsys):
    first, second = (serve(lambda number, body: completion(body)) for _ in range(2))
    describe(tmp_path, first.url, answers=1)
    describe(tmp_path, second.url, answers=1)
    assert (len(first.bodies), len(second.bodies)) == (15, 0), "answered from the log"
    assert "warning" not in capsys.readouterr().err
    second.answer = lambda number, body: completion(body | {"model": "other"})
    answers = describe(tmp_path, second.url)
    assert len(second.bodies) == 15
    assert answers.provenance["served_by"] == {"maker/model": 15, "other": 15}
    [warning] = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "names the model other now, before it was maker/model" in warning


def test_ctrl_c_keeps_what_is_under_way(serve, tmp_path, monkeypatch):
    def slow(number: int, body: dict[str, Any]) -> Response:
        time.sleep(0.3)
        return completion(body)

    server = serve(slow)
    real, calls = backend.wait, []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            time.sleep(0.1)
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(backend, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        describe(tmp_path, server.url)
    assert kept(tmp_path) == len(server.bodies) == 4, "one per connection, all of them kept"


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}\r\n"])
def test_white_space_around_a_key_is_no_part_of_it(serve, tmp_path, monkeypatch, key):
    monkeypatch.setenv("SOME_KEY", key)
    server = serve(lambda number, body: completion(body))
    describe(tmp_path, server.url, api_key_env="SOME_KEY")
    assert server.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize("key", ["sk-\x01secret", "sk-sécret", "a\nb"])
def test_a_key_that_cannot_be_one_is_not_shown(tmp_path, monkeypatch, key):
    monkeypatch.setenv("SOME_KEY", key)
    message = refused(tmp_path, "http://127.0.0.1:9/v1", api_key_env="SOME_KEY")
    assert "SOME_KEY holds what no key can" in message
    assert "secret" not in message
    assert "sécret" not in message


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    serve, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SOME_KEY", KEY)
    server = serve(lambda number, body: completion(body))
    answers = describe(tmp_path, server.url, api_key_env="SOME_KEY")
    assert server.keys == {f"Bearer {KEY}"}
    server.answer = lambda number, body: refusal(401, f"Incorrect API key provided: {KEY}")
    message = refused(tmp_path / "b", server.url, api_key_env="SOME_KEY")
    assert "Incorrect API key provided: ***" in message
    written = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    texts = message + str(answers.provenance) + "".join(capsys.readouterr())
    assert KEY.encode() not in written
    assert KEY not in texts
    monkeypatch.delenv("SOME_KEY")
    message = refused(tmp_path, server.url, api_key_env="SOME_KEY")
    assert "the environment has no SOME_KEY" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [("concurrency", 0), ("timeout_s", 0.0), ("connection_retries", -1),
     ("response_format", "xml"), ("limit_field", "tokens"), ("api_key", "secret")],
)  # fmt: skip
def test_wrong_values_are_named(key, value):
    with pytest.raises(UserError, match=rf"describe.options.openai: (unknown )?key '{key}'"):
        params("http://127.0.0.1/v1", **{key: value})

"""Several servers, rate limits, refusals, the budget and signs of life of the openai backend."""

import json
import time
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.descriptions.answer_log import AnswerLog
from tests.support.openai_backend import describe, kept, params, refused
from tests.support.openai_server import Response, completion, refusal

GONE = "http://127.0.0.1:9/v1"


def good(number: int, body: dict[str, Any]) -> Response:
    return completion(body)


def changed(response: Response, message: dict[str, Any], **outer: Any) -> Response:
    """A completion with other keys in its message, its choice (finish_reason) or itself."""
    value = json.loads(response[2])
    value["choices"][0]["message"] |= message
    if "finish_reason" in outer:
        value["choices"][0]["finish_reason"] = outer.pop("finish_reason")
    return response[0], response[1], json.dumps(value | outer)


def test_what_is_null_is_left_out(serve, tmp_path):
    server = serve(lambda number, body: completion(body | {"seed": number}))
    nothing = dict.fromkeys(("temperature", "top_p", "max_tokens", "seed_field"))
    answers = describe(tmp_path, server.url, response_format="none", **nothing)
    assert set(server.bodies[0]) == {"model", "messages"}
    assert answers.provenance["sampling"]["temperature"] is None
    describe(tmp_path, server.url, seed_field="random_seed", extra_body={"top_k": 5})
    assert server.bodies[-1]["top_k"] == 5
    assert "seed" not in server.bodies[-1]
    assert len({body["random_seed"] for body in server.bodies[30:]}) == 30


@pytest.mark.parametrize("extra", [{"seed": 1}, {"stream": True}, {"a": {1}}, {"n": 2}])
def test_an_extra_body_that_would_change_what_has_a_key(extra):
    with pytest.raises(UserError, match="describe.options.openai: key 'extra_body': "):
        params(GONE, extra_body=extra)


def test_another_extra_body_is_another_request(serve, tmp_path):
    server = serve(good)
    describe(tmp_path, server.url)
    describe(tmp_path, server.url, extra_body={"top_k": 5})
    assert len(server.bodies) == 60


def test_requests_go_to_the_servers_in_turn(serve, tmp_path):
    first, second = serve(good), serve(good)
    answers = describe(tmp_path, [first.url, second.url])
    assert (len(first.bodies), len(second.bodies)) == (15, 15)
    assert answers.sentences == describe(tmp_path / "one", first.url).sentences


def test_the_environment_says_where_the_servers_are(serve, tmp_path, monkeypatch):
    first, second = serve(good), serve(good)
    monkeypatch.setenv("SAFT_BASE_URL", f"{first.url}, {second.url}")
    describe(tmp_path, GONE)
    assert (len(first.bodies), len(second.bodies)) == (15, 15)


def test_a_server_that_goes_away_is_left_out_and_said(serve, tmp_path, capsys):
    first = serve(lambda n, body: good(n, body) if n < 3 else refusal(503, "shutting down"))
    second = serve(good)
    answers = describe(tmp_path, [first.url, GONE, second.url])
    assert len(answers.sentences) == 90
    assert len(second.bodies) == 27
    said = [line for line in capsys.readouterr().err.splitlines() if "not answer any more" in line]
    assert len(said) == 2, "once for each"
    assert any(GONE in line for line in said)


def test_when_no_server_is_left_the_run_stops_and_continues_with_another(serve, tmp_path):
    first = serve(lambda n, body: good(n, body) if n < 8 else refusal(503, "shutting down"))
    message = refused(tmp_path, [GONE, first.url], concurrency=1)
    assert "HTTP 503: shutting down" in message
    assert kept(tmp_path) == 8
    second = serve(good)
    answers = describe(tmp_path, second.url)
    assert len(second.bodies) == 22
    assert answers.provenance["counts"]["from_earlier_run"] == 8
    assert answers.sentences == describe(tmp_path / "one", second.url).sentences


def test_a_password_of_a_server_in_a_list_is_not_shown(tmp_path):
    message = refused(tmp_path, [GONE, "http://me:secret@127.0.0.1:9/v1"])
    assert "secret" not in message


@pytest.mark.parametrize(
    "headers",
    [{"retry-after-ms": "300"}, {"Retry-After": "0.3"},
     {"x-ratelimit-reset-requests": "300ms", "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "90"}],
)  # fmt: skip
def test_a_rate_limit_is_waited_for_and_said(serve, tmp_path, capsys, headers):
    def limited(number: int, body: dict[str, Any]) -> Response:
        return refusal(429, "slow down", **headers) if number == 1 else completion(body)

    server = serve(limited)
    start = time.perf_counter()
    answers = describe(tmp_path, server.url, connection_retries=1, concurrency=1)
    assert time.perf_counter() - start >= 0.3
    assert len(answers.sentences) == 90
    said = [line for line in capsys.readouterr().err.splitlines() if "limits the rate" in line]
    assert said == [
        f"describe: the server at {server.url} limits the rate (HTTP 429): "
        "waiting 0.3 s, as it asks"
    ]


def test_a_wait_that_is_too_long_ends_the_run(serve, tmp_path):
    server = serve(lambda n, body: refusal(429, "daily", **{"x-ratelimit-reset-requests": "5h"}))
    message = refused(tmp_path, server.url, connection_retries=3)
    assert "too many requests; lower concurrency (daily); it asks to wait 18000 s" in message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 418, 422])
def test_any_refusal_names_class_question_and_the_server_s_words(serve, tmp_path, status):
    server = serve(lambda n, body: refusal(status, "w" * 250))
    message = refused(tmp_path, server.url, concurrency=1)
    assert f"class 'c0', question 'looks_like': HTTP {status}: {'w' * 200}" in message
    assert "w" * 201 not in message


@pytest.mark.parametrize(
    "body", ["<html>nginx</html>", '{"detail": "nginx"}', '{"error": "nginx"}', '["nginx"]',
             '[{"error": {"message": "nginx"}}]', '{"message": {"detail": ["nginx"]}}'],
)  # fmt: skip
def test_words_in_every_form_of_an_error(serve, tmp_path, body):
    server = serve(lambda n, _: (405, {"Content-Type": "application/json"}, body))
    assert "nginx" in refused(tmp_path, server.url)


@pytest.mark.parametrize(
    ("message", "outer", "said"),
    [
        ({"content": None, "refusal": "I can't help."}, {}, "I can't help."),
        ({"content": None}, {"finish_reason": "content_filter"}, "finish_reason: content_filter"),
        ({"content": ""}, {"finish_reason": "PROHIBITED_CONTENT"}, "finish_reason: prohibited_con"),
    ],
)
def test_refusals_are_lost_answers_and_named(serve, tmp_path, capsys, message, outer, said):
    def picky(number: int, body: dict[str, Any]) -> Response:
        response = completion(body)
        return (
            changed(response, message, **outer) if "strich" in str(body["messages"]) else response
        )

    answers = describe(tmp_path, serve(picky).url, retries=0)
    assert {s.class_id for s in answers.sentences} == {"c0", "c2"}
    counts = answers.provenance["counts"]
    assert (counts["refused"], counts["unreadable"], counts["lost"]) == (10, 0, 10)
    assert len(answers.provenance["refused"]) == 5
    assert answers.provenance["refused"]["c1/looks_like"].startswith(said)
    assert "5 questions were refused" in capsys.readouterr().err


def test_a_refusal_that_is_answered_when_asked_again_is_counted_only(serve, tmp_path):
    def once(number: int, body: dict[str, Any]) -> Response:
        response = completion(body)
        return changed(response, {"content": None, "refusal": "No."}) if number == 0 else response

    provenance = describe(tmp_path, serve(once).url).provenance
    assert (provenance["counts"]["refused"], provenance["counts"]["lost"]) == (1, 0)
    assert "refused" not in provenance


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_content_in_parts_or_beside_thoughts(serve, tmp_path, name):
    def thinking(number: int, body: dict[str, Any]) -> Response:
        response = completion(body)
        text = json.loads(response[2])["choices"][0]["message"]["content"]
        thoughts = {name: '{"sentences": ["thought"]}'}
        if number == 0:
            return changed(response, thoughts | {"content": None})
        parts = [{"type": "text", "text": text[:9]}, {"type": "text", "text": text[9:]}]
        return changed(response, thoughts | {"content": parts})

    answers = describe(tmp_path, serve(thinking).url)
    assert len(answers.sentences) == 90
    assert answers.provenance["counts"]["unreadable"] == 1
    assert not any("thought" in s.text for s in answers.sentences)


def test_a_model_that_never_ends_its_json_stops_the_run_and_is_shown(serve, tmp_path):
    endless = '{"sentences": ["' + "A tench is green and " * 40
    server = serve(lambda n, body: completion(body, endless, "length"))
    message = refused(tmp_path, server.url, "describe: ")
    assert "none of the first 20 answers of maker/model can be read (20 truncated)" in message
    assert f"one of them: '{endless[:200]}'; raise max_tokens" in message
    assert len(server.bodies) <= 20 + 4
    server.answer = lambda n, body: completion(body, "[]") if n < 60 else completion(body)
    message = refused(tmp_path, server.url, "describe: ")
    assert "(20 unreadable); one of them: '[]'" in message


def test_answers_that_were_read_keep_a_hard_rest_from_stopping_the_run(serve, tmp_path):
    def hard(number: int, body: dict[str, Any]) -> Response:
        return completion(body, None if "apple" in str(body["messages"]) else "[]")

    answers = describe(tmp_path, serve(hard).url)
    assert answers.provenance["counts"]["lost"] == 20
    assert {s.class_id for s in answers.sentences} == {"c0"}


def test_a_budget_of_requests_stops_and_continues_when_raised(serve, tmp_path, monkeypatch):
    server = serve(good)
    monkeypatch.setenv("SAFT_MAX_REQUESTS", "12")
    for _ in range(2):
        message = refused(tmp_path, server.url, "describe: the budget SAFT_MAX_REQUESTS=12 is used")
        assert "raise it and run again to continue" in message
        assert (len(server.bodies), kept(tmp_path)) == (12, 12)
    monkeypatch.setenv("SAFT_MAX_REQUESTS", "30")
    answers = describe(tmp_path, server.url)
    assert len(server.bodies) == 30
    assert answers.provenance["requests"] == 30
    assert answers.sentences == describe(tmp_path / "whole", serve(good).url).sentences


def test_a_budget_of_tokens_lets_in_what_is_under_way(serve, tmp_path, monkeypatch):
    server = serve(good)
    monkeypatch.setenv("SAFT_MAX_TOKENS_TOTAL", "95")
    refused(tmp_path, server.url, "describe: the budget SAFT_MAX_TOKENS_TOTAL=95 is used up")
    assert 10 <= len(server.bodies) == kept(tmp_path) <= 10 + 3
    monkeypatch.delenv("SAFT_MAX_TOKENS_TOTAL")
    assert len(describe(tmp_path, server.url).sentences) == 90


@pytest.mark.parametrize("value", ["many", "-1", "1e3", "2.5"])
def test_a_budget_that_is_no_number(tmp_path, monkeypatch, value):
    monkeypatch.setenv("SAFT_MAX_REQUESTS", value)
    message = refused(tmp_path, GONE, f"describe: SAFT_MAX_REQUESTS='{value}' is no whole number")
    assert "unset it" in message


def test_requests_tokens_and_seconds_are_those_of_all_runs(serve, tmp_path):
    def stops(number: int, body: dict[str, Any]) -> Response:
        if number == 5:
            return completion(body, "[]")
        return completion(body) if number < 12 else refusal(400, "no")

    server = serve(stops)
    refused(tmp_path, server.url, concurrency=1)
    before = [json.loads(line) for line in (tmp_path / "requests.jsonl").open()]
    assert len(before) == 12, "the one that could not be read is paid for, too"
    server.answer = good
    provenance = describe(tmp_path, server.url).provenance
    assert provenance["counts"]["from_earlier_run"] == 11
    assert provenance["requests"] == 12 + 19
    assert provenance["counts"]["prompt_tokens"] == 7 * 31
    assert provenance["counts"]["completion_tokens"] == 3 * 31
    assert provenance["generation_seconds"] >= round(sum(line[3] for line in before), 1)
    log = AnswerLog(tmp_path / "answers.jsonl")
    log.requests.begin({line[0] for line in before})
    assert len(log.requests.costs) == 31 - 18, "of the eleven answers, and twice of the twelfth"
    log.requests.forget()
    assert len((tmp_path / "requests.jsonl").read_bytes().splitlines()) == 18


def test_requests_that_run_and_wait_are_shown_before_the_first_answer(serve, tmp_path, capsys):
    shown: list[str] = []

    def first(number: int, body: dict[str, Any]) -> Response:
        if number == 0:
            time.sleep(0.2)
            shown.append(capsys.readouterr().err)
        return completion(body)

    describe(tmp_path, serve(first).url, concurrency=1)
    assert "0 tokens/s, 1 running, 29 waiting" in shown[0]

"""How long the headers of a server ask to wait."""

import pytest

from pipeline.descriptions.rate_limit import duration, wait_asked_for


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 1), ("1.5", 1.5), ("12ms", 0.012), ("1s", 1), ("6m0s", 360), ("1h2m3s", 3723),
     ("1m30.5s", 90.5), ("0", 0), ("", None), ("-1", None), ("1700000000", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("2026-10-21T07:28:00Z", None), ("inf", None),
     ("nan", None)],
)  # fmt: skip
def test_durations(text, seconds):
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


def remaining(requests: str, tokens: str, left: tuple[str, str] = ("", "")) -> dict[str, str]:
    return {
        "x-ratelimit-reset-requests": requests, "x-ratelimit-reset-tokens": tokens,
        "x-ratelimit-remaining-requests": left[0], "x-ratelimit-remaining-tokens": left[1],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": "3"} | remaining("1s", "2s"), 3),
        (remaining("1s", "6m0s", ("0", "100")), 1),
        (remaining("1s", "6m0s", ("0", "0")), 360),
        (remaining("1s", "6m0s", ("9", "100")), 1),
        (remaining("tomorrow", ""), None),
    ],
)
def test_what_headers_ask(headers, seconds):
    assert wait_asked_for(headers) == seconds

"""Rate limits of a server: how long its headers ask to wait, and the client that heeds them.

The `openai` client itself waits for `retry-after` and `retry-after-ms` and backs off otherwise;
it knows nothing of `x-ratelimit-reset-*`, and says nothing.
"""

import math
import re
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

LONGEST = 120  # seconds; the client does not wait longer, the request then fails
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_LIMITED = (429, 503)


def duration(text: str) -> float | None:
    """Seconds of a duration as servers write it ("6m0s", "120ms", "1.5"); None if it is none,
    such as a date or a time since 1970."""
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
            return None
        return sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(text))
    return seconds if 0 <= seconds < 1e9 else None


def wait_asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None if it does not say.

    Of several `x-ratelimit-reset-*` the longest whose `x-ratelimit-remaining-*` is 0, and the
    shortest where none is known to be used up.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1)):
        seconds = duration(headers.get(name, ""))
        if seconds is not None:
            return seconds * unit
    resets: dict[str, float] = {}
    for name, text in headers.items():
        prefix, _, what = name.lower().partition("-reset-")
        seconds = duration(text)
        if prefix == "x-ratelimit" and seconds is not None:
            resets[what] = seconds
    used_up = [s for w, s in resets.items() if headers.get(f"x-ratelimit-remaining-{w}") == "0"]
    return max(used_up) if used_up else min(resets.values(), default=None)


def heeding(server: str, say: Callable[[str], None]) -> Callable[[Any], None]:
    """A hook for the client's responses: a rate limit is put where the client reads it, and said,
    once for all requests that wait at the same time."""
    lock, said_until = threading.Lock(), 0.0

    def heed(response: Any) -> None:
        nonlocal said_until
        if response.status_code not in _LIMITED:
            return
        seconds = wait_asked_for(response.headers)
        _pass_on(response.headers, seconds)
        if (response.status_code != 429 and seconds is None) or (seconds or 0) > LONGEST:
            return
        with lock:
            if time.monotonic() < said_until:
                return
            said_until = time.monotonic() + max(seconds or 0, 10)
        wait = "a little longer each time" if seconds is None else f"{seconds:.3g} s, as it asks"
        say(f"describe: {server} limits the rate (HTTP {response.status_code}): waiting {wait}")

    return heed


def _pass_on(headers: MutableMapping[str, str], seconds: float | None) -> None:
    if seconds is not None and not {"retry-after", "retry-after-ms"} & set(headers):
        headers["retry-after-ms"] = str(math.ceil(seconds * 1000))

"""Keys, tokens and passwords: none may stand in a file that is in git, none is shown.

params.yaml is in git, DVC copies its values to dvc.lock and the report prints them, so a secret in
it is refused where the file is read. What others say (a server, a library) is shown without the
secrets of the environment and without what looks like one.
"""

import base64
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from pipeline.common.errors import printable

HIDDEN = "***"
SHORTEST = 8  # characters of a variable's value that is taken for a secret
_WORDS = r"api[-_]?key|(?:access|auth)[-_]?token|token|(?:client[-_]?)?secret|password|passwd|sig"
_QUERY = re.compile(rf"([?&;](?:[\w-]*[-_])?(?:key|{_WORDS})=)[^&;#\s'\"<>)]+", re.IGNORECASE)
_USER = re.compile(r"(//)[^/\s@'\"<>]+@")
# OpenAI and those like it, the hub, Google, GitHub, AWS, Slack, GitLab; JSON web tokens
# the bounds keep a search linear in the length of a text of many beginnings
_TOKEN = re.compile(
    r"\b(?:sk-(?=[\w-]{0,200}\d)[\w-]{16,}|hf_[A-Za-z0-9]{20,}|AIza[\w-]{30,}|gh[opusr]_\w{30,}"
    r"|github_pat_\w{30,}|AKIA[0-9A-Z]{16}|xox[abps]-[\w-]{10,}|glpat-[\w-]{16,}"
    r"|eyJ[\w-]{8,1000}\.eyJ[\w-]{8,8000}\.[\w-]+)"
)
_SCHEME = re.compile(r"\b((?:Bearer|Basic) +)(?=\S*\d)[\w.~+/=-]{8,}")
# what a file of parameters may not hold: narrower than what is hidden, since it refuses the file
_ISSUER = r"access|account|auth|secret|private|signing|subscription"
_REFUSED = (
    re.compile(rf"[?&;](?:[\w-]*[-_])?(?:{_WORDS}|(?:{_ISSUER})[-_]?key)=[^&;#\s]", re.IGNORECASE),
    re.compile(r"[?&;]key=[^&;#\s]{8,}", re.IGNORECASE),
    re.compile(r"//[^/\s@:]*:[^/\s@]+@"),  # a password
    # a token as the user; a short word, as in "https://git@host" or "ssh://user01@host", is none
    re.compile(r"\w://(?![A-Za-z][A-Za-z._-]{0,18}\d{0,3}@)[^/\s@]+@"),
)
# "sk-learn-digits-version-1", "n02084071-classes", "3D-objects": no token, though it has digits
_WORDS_AND_NUMBERS = re.compile(
    r"(?:[A-Za-z]{0,16}\d{0,8}[A-Za-z]?[-_.])*[A-Za-z]{0,16}\d{0,8}[A-Za-z]?"
)
_KEY = re.compile(rf"(?:x[-_])?(?:{_WORDS}|authorization|bearer)", re.IGNORECASE)
_VARIABLE = re.compile(r"\w*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PAT)(?:_?\d+)?", re.IGNORECASE)
# OPENAI_API_KEY_2 in capitals; in small letters what ends as names of keys do, openai_api_key
_NAME_OF_VARIABLE = re.compile(
    r"_?[A-Z][A-Z0-9_]{0,63}"
    r"|_?(?:[A-Za-z]{1,24}\d{0,3}_){0,8}(?i:key|token|secret|password|passwd|pat)(?:_?\d{1,3})?"
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with *** for `secrets`, for those of the environment and for what looks like one: a
    user in a URL, a key in its query, a token of a known form."""
    text = without({*secrets, *_of_environment()}, text)
    text = _USER.sub(rf"\1{HIDDEN}@", text)
    for pattern in (_QUERY, _SCHEME):
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)


def is_variable(text: str) -> bool:
    """Whether a text is the name of an environment variable and no pasted key."""
    return bool(_NAME_OF_VARIABLE.fullmatch(text)) and not _looks_so(text)


def shown(message: str) -> str:
    """A message as a terminal or a log may have it: without secrets, commanding no terminal."""
    return printable(redacted(message))


def without(secrets: Iterable[str], text: str) -> str:
    """`text` with *** for each of `secrets`, also as a URL or a header of HTTP writes it."""
    for secret in sorted({form for one in secrets if one for form in _forms(one)}, key=len)[::-1]:
        text = text.replace(secret, HIDDEN)
    return text


def of_url(url: str) -> list[str]:
    """What a URL must not be shown with: its user with the password, and the password."""
    user = re.match(r"[^/]*//([^/@]*)@", url)
    if not user:
        return []
    password = user[1].partition(":")[2]
    return [user[1], unquote(user[1]), *([password, unquote(password)] if password else [])]


def in_values(values: Any, path: str = "") -> Iterator[str]:
    """The keys, joined by dots, of a YAML file's values that hold a secret."""
    if isinstance(values, dict):
        for key, value in values.items():
            below = f"{path}.{key}" if path else str(key)
            if isinstance(value, str) and _named_so(str(key), value, path):
                yield below
            else:
                yield from in_values(value, below)
    elif isinstance(values, list):
        for value in values:
            yield from in_values(value, path)
    elif isinstance(values, str) and _looks_so(values):
        yield path


def _named_so(key: str, value: str, above: str) -> bool:
    """Whether a key of a mapping says that its value is a secret, or should be no secret's own."""
    if key == "api_key_env":
        return bool(value) and not is_variable(value)
    in_query = above.endswith("query") and key.lower() == "key"
    return bool(value) and (in_query or bool(_KEY.fullmatch(key)))


def _looks_so(text: str) -> bool:
    tokens = [match[0] for match in _TOKEN.finditer(text)]
    tokens += [match[0][len(match[1]) :] for match in _SCHEME.finditer(text)]
    if not all(_WORDS_AND_NUMBERS.fullmatch(token) for token in tokens):
        return True
    return any(pattern.search(text) for pattern in _REFUSED)


def _of_environment() -> list[str]:
    secrets = []
    for name, value in os.environ.items():
        if len(value.strip()) >= SHORTEST and _VARIABLE.fullmatch(name):
            secrets.append(value.strip())
        if "//" in value and "@" in value:
            secrets += [part for url in value.split(",") for part in of_url(url.strip())]
    return [secret for secret in secrets if len(secret) >= SHORTEST]


def _forms(secret: str) -> set[str]:
    coded = base64.b64encode(secret.encode(errors="replace")).decode()
    return {secret, quote(secret, safe=""), coded, coded.rstrip("=")} - {""}

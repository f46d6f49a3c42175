"""Where a model is served, and the key that opens it: parameters and environment."""

import os

from pydantic import Field

from pipeline.common.bounds import FewOrZero
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.common.secrets import is_variable

WHERE = "describe.options.openai"
URLS = "SAFT_BASE_URL"  # environment: where a model runs changes no result


class ServerParams(Section):
    """The keys of `describe.options.openai` that say where and how a server is reached."""

    base_url: str | list[str] = Field(min_length=1)
    api_key_env: str | None
    key_header: str = Field(min_length=1)
    query: dict[str, str]
    timeout_s: float = Field(gt=0, le=1e6)  # sockets wait in milliseconds, of 32 bits
    connection_retries: FewOrZero


def base_urls(params: ServerParams) -> list[str]:
    """Where the servers are: $SAFT_BASE_URL, separated by commas, else `base_url`."""
    urls = [url.strip() for url in os.environ.get(URLS, "").split(",") if url.strip()]
    if urls:
        return urls
    return [params.base_url] if isinstance(params.base_url, str) else params.base_url


def api_key(variable: str | None) -> str:
    """The key in an environment variable; "none" without a variable, the client insists on one."""
    if variable is None:
        return "none"
    if not is_variable(variable):  # nor is it shown: it may be the key
        raise UserError(
            f"{WHERE}: api_key_env is the name of an environment variable, such as "
            "OPENAI_API_KEY; this is none, and a key must not stand there"
        )
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"{WHERE}: the environment has no {variable}; export it, or set "
            "api_key_env: null for a server that asks for no key"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{WHERE}: {variable} holds what no key can; export it again")
    return key

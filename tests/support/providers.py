"""Stand-ins for providers of the OpenAI protocol: what each accepts, and its errors, as published.

Each is `answer(path, headers, body)` for `tests.support.openai_server.Server`: a request that the
provider would refuse is refused in the provider's own form.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zlib import crc32

from tests.support.openai_server import Response, Server

Provider = Callable[[str, Mapping[str, str], dict[str, Any]], Response]
BASIC = {"model", "messages", "temperature", "top_p", "max_tokens", "response_format"}
KEY = "sk-provider-key-0123456789"


class ProviderServer(Server):
    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        super().__init__(lambda number, body: http(500, {}))

    def respond(
        self, number: int, path: str, headers: Mapping[str, str], body: dict[str, Any]
    ) -> Response:
        return self.provider(path, headers, body)


def http(status: int, value: Any, **headers: str) -> Response:
    return status, {"Content-Type": "application/json"} | headers, json.dumps(value)


def answered(
    body: dict[str, Any], seed: int, content: Any = None, reason: str = "stop", **extra: Any
) -> Response:
    """`extra`: further keys of the message, or of the completion for those it has."""
    if content is None:
        content = json.dumps({"sentences": [f"{seed} {i}" for i in range(3)]})
    outer = {k: extra.pop(k) for k in ("model", "system_fingerprint") if k in extra}
    message = {"role": "assistant", "content": content} | extra
    return http(200, {
        "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    } | outer)  # fmt: skip


def _error(status: int, message: str, **keys: Any) -> Response:
    return http(status, {"error": {"message": message, "type": None, "param": None} | keys})


def vllm(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Response:
    if path != "/v1/chat/completions":
        return http(404, {"detail": "Not Found"})
    if body["model"] != "qwen":
        text = f"The model `{body['model']}` does not exist."
        return _error(404, text, type="NotFoundError", code=404)
    if body.get("chat_template_kwargs") != {"enable_thinking": False}:
        return answered(body, body["seed"], "", reasoning_content='{"sentences": ["Hm."]}')
    return answered(body, body["seed"], reasoning_content=None, refusal=None)


def llama_cpp(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Response:
    """Any name of a model will do; the answer names the file."""
    if headers.get("Authorization") != f"Bearer {KEY}":
        return _error(401, "Invalid API Key", type="authentication_error", code=401)
    file = {"model": "qwen2.5-1.5b-q4_k_m.gguf", "system_fingerprint": "b6100-6c2d3e9"}
    return answered(body, body["seed"], **file)


def ollama(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Response:
    if path != "/v1/chat/completions":
        return 404, {"Content-Type": "text/plain"}, "404 page not found"
    if body["model"] != "qwen2.5:7b":
        text = f'model "{body["model"]}" not found, try pulling it first'
        return _error(404, text, type="api_error", code=None)
    return answered(body, body["seed"], system_fingerprint="fp_ollama")


def openai_reasoning(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Response:
    """No temperature, no top_p, its own name for the token limit."""
    if headers.get("Authorization") != f"Bearer {KEY}":
        text = f"Incorrect API key provided: {headers.get('Authorization', '')[7:]}."
        return _error(401, text, code="invalid_api_key", type="invalid_request_error")
    if "max_tokens" in body:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        return _error(400, text, param="max_tokens", code="unsupported_parameter")
    for name in ("temperature", "top_p"):
        if name in body:
            text = f"Unsupported value: '{name}' does not support {body[name]} with this model."
            return _error(400, text, param=name, code="unsupported_value")
    return answered(body, body["seed"], refusal=None, model="o9-2026-01-01")


def gemini(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Response:
    """Errors are in a list; no seed; finish reasons of its own."""
    if path != "/v1beta/openai/chat/completions":
        return 404, {"Content-Type": "text/html"}, "<html>404. That's an error.</html>"
    if unknown := set(body) - BASIC - {"reasoning_effort"}:
        text = f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.'
        return http(400, [{"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}}])
    if "ostrich" in body["messages"][0]["content"].lower():
        return answered(body, 0, "", "SAFETY")
    return answered(body, crc32(body["messages"][0]["content"].encode()))


def mistral(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Response:
    """422 for a field that it does not know; content of reasoning models in parts."""
    if unknown := set(body) - BASIC - {"random_seed", "safe_prompt"}:
        detail = {
            "type": "extra_forbidden", "loc": ["body", min(unknown)],
            "msg": "Extra inputs are not permitted", "input": 0,
        }  # fmt: skip
        outer = {"object": "error", "type": "invalid_request_error", "param": None, "code": None}
        return http(422, outer | {"message": {"detail": [detail]}})
    seed = body["random_seed"]
    thought = [{"type": "text", "text": '{"sentences": ["Let me think."]}'}]
    text = json.dumps({"sentences": [f"{seed} {i}" for i in range(3)]})
    parts = [{"type": "thinking", "thinking": thought}, {"type": "text", "text": text}]
    return answered(body, seed, parts)


def azure(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Response:
    """Key in a header of its own, version in the query, deployment in the path; a filter."""
    url = urlsplit(path)
    if headers.get("api-key") != KEY or headers.get("Authorization"):
        text = "Access denied due to invalid subscription key or wrong API endpoint."
        return _error(401, text, code="401")
    if url.path != "/openai/deployments/my-gpt/chat/completions" or "api-version" not in parse_qs(
        url.query
    ):
        return _error(404, "Resource not found", code="404")
    if "ostrich" in body["messages"][0]["content"].lower():
        text = (
            "The response was filtered due to the prompt triggering Azure OpenAI's content "
            "management policy. Please modify your prompt and retry."
        )
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}}
        return _error(400, text, param="prompt", code="content_filter", innererror=inner)
    return answered(body, body["seed"], model="gpt-4o-2024-11-20", system_fingerprint="fp_a")

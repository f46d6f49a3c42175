"""A stand-in for a server of the OpenAI protocol, in a thread of the test."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Response = tuple[int, dict[str, str], str]


def completion(body: dict[str, Any], text: str | None = None, reason: str = "stop") -> Response:
    if text is None:
        text = json.dumps({"sentences": [f"{body['seed']} {i}" for i in range(3)]})
    message = {"role": "assistant", "content": text}
    completion = {
        "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }  # fmt: skip
    return 200, {"Content-Type": "application/json"}, json.dumps(completion)


def refusal(status: int, message: str, **headers: str) -> Response:
    body = json.dumps({"error": {"message": message, "type": "x", "param": None, "code": status}})
    return status, {"Content-Type": "application/json"} | headers, body


class Server:
    """Counts requests; `answer(number, body)` says what comes back."""

    def __init__(self, answer: Callable[[int, dict[str, Any]], Response]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.under_way = self.most = 0
        self.lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner.lock:
                    number = len(owner.bodies)
                    owner.bodies.append(body)
                    owner.keys.add(self.headers["Authorization"])
                    owner.under_way += 1
                    owner.most = max(owner.most, owner.under_way)
                status, headers, text = owner.respond(number, self.path, self.headers, body)
                with owner.lock:
                    owner.under_way -= 1
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def respond(
        self, number: int, path: str, headers: Mapping[str, str], body: dict[str, Any]
    ) -> Response:
        return self.answer(number, body)

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

"""Keys, tokens and passwords planted wherever they can stand: nothing that a run writes or prints
holds one."""

import base64
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.common import secrets
from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.images.classes import ClassEntry, write_classes
from saft.schema import check_params
from stages import describe
from tests.support.openai_server import Response, Server, completion, refusal
from tests.support.project import DEMO, ROOT

KEY = "q7Zk2-planted-key-0123456789abcdef"  # of no known form: only the environment tells it
PASSWORD = "planted%2Fpass-word42"
TOKENS = [
    "sk-proj-planted0123456789abcdef", "hf_planted0123456789abcdefghij", "AKIAPLANTED012345678",
    "AIzaplanted0123456789abcdefghijklmnopq", "ghp_planted0123456789abcdefghijklmnopq",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.planted_signature",
]  # fmt: skip
# where in params.yaml a secret is planted -> how
PLANTS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "user in base_url": lambda o, s: o.update(base_url=f"https://me:{s}@host/v1"),
    "user alone": lambda o, s: o.update(base_url=f"https://{s}@host/v1"),
    "one of several": lambda o, s: o.update(base_url=["http://a/v1", f"http://u:{s}@b/v1"]),
    "key in base_url": lambda o, s: o.update(base_url=f"https://host/v1?key={s}"),
    "api_key in base_url": lambda o, s: o.update(base_url=f"https://host/v1?a=1&api_key={s}"),
    "key as its variable": lambda o, s: o.update(api_key_env=s),
    "key in the query": lambda o, s: o.update(query={"key": s}),
    "code in the query": lambda o, s: o.update(query={"api-key": s}),
    "header in the body": lambda o, s: o.update(extra_body={"headers": {"Authorization": s}}),
    "token in the body": lambda o, s: o.update(extra_body={"a": [{"access_token": s}]}),
    "bearer in a text": lambda o, s: o.update(extra_body={"text": f"Bearer {s}"}),
}
ASKED = "/v1/chat/completions"


def written(folder: Path) -> dict[str, bytes]:
    """Every file that a run has left, of whatever kind, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def holding(texts: dict[str, bytes], *planted: str) -> list[str]:
    """The texts that hold one of `planted`, also coded as in URLs and headers."""
    forms = {form for secret in planted for form in (secret, base64.b64encode(secret.encode())
             .decode().rstrip("="))}  # fmt: skip
    return [name for name, content in texts.items() for f in forms if f.encode() in content]


@pytest.mark.parametrize("token", [*TOKENS, KEY])
def test_what_is_shown_holds_no_secret(token, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", KEY)
    for text in (
        f"https://me:{token}@host/v1 failed", f"https://host/v1?a=1&key={token}&b=2 failed",
        f"?api-key={token}", f"Authorization: Bearer {token}", f"('Basic {token}')",
        f"proxy http://{token}@proxy:3128/", f"two\n//a:{token}@b and //c:{token}@d",
    ):  # fmt: skip
        assert token not in secrets.redacted(text)
        assert "failed" not in text or "failed" in secrets.redacted(text)
    assert KEY not in secrets.shown(f"you sent {KEY} and {base64.b64encode(KEY.encode()).decode()}")
    harmless = "Basic adversarial training of tokens, max_tokens=5, https://host/a@b, key: x"
    assert secrets.redacted(harmless) == harmless


@pytest.mark.parametrize("text", [
    "ssh://git@github.com/a/b", "https://john@bitbucket.org/a", "hf_datasets_imagenet_1k_wds",
    "/data/hf_hub_openai_clip_vit_base_patch16", "sk-learn-logistic-regression",
    "https://host/v1?api-version=2024-06-01", "https://host/v1?sort_key=name",
    "/data/sk-learn-digits-version-1", "/mnt/sk-imagenet-2024-train/images", "//nas01@work/share",
    "Smith et al., Basic 3D-objects, 2020", "of Russakovsky et al.; Basic n02084071-classes",
    "https://openreview.net/pdf?key=3ca", "the Bearer n02084071-bears of 2020-2021",
])  # fmt: skip
def test_harmless_values_are_not_refused(text):
    assert list(secrets.in_values({"root": text})) == []


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("protocol-*")))
def test_no_committed_profile_is_taken_for_a_secret(profile):
    from saft.use.profiles import rendered

    values = YAML(typ="safe", pure=True).load(rendered(profile).decode())
    assert list(secrets.in_values(values)) == []


@pytest.mark.parametrize("value", [
    "sk-lf-3f2b8c1e-9a4d-4c1e-8b2a-1f2e3d4c5b6a", "sk-helicone-a1b2c3d-e4f5g6h-i7j8k9l-m0n1o2p",
    "sk-Xw3_9fLk2-aQ7pZr5tYb1c", "https://h/v1?password=hunter2", "https://h/v1?x_access_key=abc1",
    "HTTPS://0123456789abcdef0123456789@h/v1", "ssh://0123456789abcdef0123456789@h/v1",
    "http://tok3n1234567890abc@h", "http://:pass@h", "Bearer abc12345xyz", "Basic YWRtaW46MTIz",
])  # fmt: skip
def test_keys_of_many_issuers_are_refused(value):
    assert list(secrets.in_values({"root": value})) == ["root"]
    assert list(secrets.in_values({"url": f"{value} of it"})) == ["url"]


def _planted(plant: str, secret: str) -> dict[str, Any]:
    values = YAML(typ="safe", pure=True).load(DEMO.read_text())
    PLANTS[plant](values["describe"]["options"]["openai"], secret)
    return values


@pytest.mark.parametrize("plant", PLANTS)
def test_a_secret_in_params_yaml_is_refused_without_a_word_of_it(
    plant, tmp_path, monkeypatch, capfd
):
    """By whatever reads the file, so that DVC copies it to no dvc.lock, and no report shows it."""
    monkeypatch.chdir(tmp_path)
    for secret in (KEY, TOKENS[0]):
        values = _planted(plant, secret)
        with open("params.yaml", "w") as stream:
            YAML().dump(values, stream)
        with pytest.raises(UserError) as caught:
            read_params()
        assert "holds a key or password" in str(caught.value)
        assert "\n" not in str(caught.value)
        said = [str(caught.value), *check_params(values)]
        assert len(said) > 1
        for stage in ("names", "describe", "report", "filter", "finetune"):
            with pytest.raises(SystemExit) as left:
                importlib.import_module(f"stages.{stage}").main()
            assert left.value.code == 1
        output = capfd.readouterr()
        texts = {str(n): text.encode() for n, text in enumerate([*said, *output])}
        assert holding(texts, secret) == []
        assert {name for name in written(tmp_path)} == {"params.yaml"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("SAFT_TRACEBACK", "1")
    monkeypatch.setenv("PLANTED_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", TOKENS[1])
    for name in ("prompts", "exemplars", "confusions"):
        shutil.copytree(ROOT / "data" / name, Path("data") / name)
    write_classes(Path("data/classes/things.parquet"), [ClassEntry("a", "crane")], ())
    return folder


def _ask(url: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> int:
    """Run the stage describe; its exit status."""
    monkeypatch.setenv("SAFT_BASE_URL", url)
    values = YAML(typ="safe", pure=True).load(DEMO.read_text())
    section = values["describe"]
    section |= {"dataset": "things", "backend": "openai", "prompts": "appearance"}
    section["options"]["openai"] |= {
        "answers": 1, "sentences": 3, "concurrency": 1, "connection_retries": 0, "retries": 0,
        "api_key_env": "PLANTED_API_KEY", **options,
    }  # fmt: skip
    with open("params.yaml", "w") as stream:
        YAML().dump(values, stream)
    try:
        describe.main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def _echoed(body: dict[str, Any]) -> str:
    return f"{KEY} and {base64.b64encode(KEY.encode()).decode()} of {TOKENS[1]}"


def _sentences(body: dict[str, Any]) -> str:
    texts = [f"A crane lifts {word} {KEY} of steel." for word in ("bars", "rods", "beams")]
    return json.dumps({"sentences": texts})


ANSWERS: dict[str, Callable[[int, dict[str, Any]], Response]] = {
    **{
        f"error {status}": lambda n, body, status=status: refusal(status, _echoed(body))
        for status in (400, 401, 403, 404, 405, 413, 422, 429, 500, 503)
    },
    "an error in HTML": lambda n, body: (502, {"Content-Type": "text/html"}, _echoed(body)),
    "an error as a list": lambda n, body: (400, {"Content-Type": "application/json"},
                                           json.dumps([{"error": {"message": _echoed(body)}}])),
    "a refusal of a filter": lambda n, body: (
        400, {"Content-Type": "application/json"},
        json.dumps({"error": {"message": _echoed(body), "code": "content_filter"}}),
    ),
    "no chat completion": lambda n, body: (200, {"Content-Type": "application/json"},
                                           json.dumps({"error": _echoed(body)})),
    "no JSON at all": lambda n, body: (200, {"Content-Type": "application/json"}, _echoed(body)),
    "an answer": lambda n, body: completion(body, _sentences(body)),
    "an unreadable answer": lambda n, body: completion(body, _echoed(body)),
    "its name": lambda n, body: completion(body | {"model": KEY}, _sentences(body)),
}  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_server_that_echoes_the_key_is_not_repeated(answer, project, monkeypatch, capfd):
    server = Server(ANSWERS[answer])
    try:
        _ask(server.url, monkeypatch)
    finally:
        server.stop()
    assert server.keys == {f"Bearer {KEY}"}
    output = capfd.readouterr()
    texts = written(project) | {"stdout": output.out.encode(), "stderr": output.err.encode()}
    assert holding(texts, KEY, *TOKENS) == []
    print(f"{len(texts)} files and streams without the {1 + len(TOKENS)} secrets")


@pytest.mark.parametrize("url", [
    f"http://me:{PASSWORD}@127.0.0.1:9/v1", f"http://{PASSWORD}@127.0.0.1:9/v1",
    f"http://127.0.0.1:9/v1?key={KEY}", f"ftp://me:{PASSWORD}@host", f"http://me:{PASSWORD}@[/v1",
])  # fmt: skip
@pytest.mark.parametrize("variable", [None, "PLANTED_API_KEY"])
def test_a_url_of_the_environment_that_fails_is_shown_without_secrets(
    url, variable, project, monkeypatch, capfd
):
    assert _ask(url, monkeypatch, api_key_env=variable) == 1
    output = capfd.readouterr()
    assert "error: describe.options.openai" in output.err
    texts = written(project) | {"stdout": output.out.encode(), "stderr": output.err.encode()}
    assert holding(texts, KEY, PASSWORD, PASSWORD.replace("%2F", "/")) == []


def test_a_user_in_the_url_does_not_displace_the_key(project, monkeypatch, capfd):
    server = Server(lambda n, body: completion(body, _sentences(body)))
    url = server.url.replace("//", f"//me:{PASSWORD}@")
    try:
        assert _ask(url, monkeypatch) == 1
        assert server.keys == set()
        assert "both are sent as Authorization" in capfd.readouterr().err
        assert _ask(url, monkeypatch, api_key_env=None) == 0
    finally:
        server.stop()
    user = base64.b64encode(f"me:{PASSWORD.replace('%2F', '/')}".encode()).decode()
    assert server.keys == {f"Basic {user}"}
    assert holding(written(project), PASSWORD, user) == []


def test_a_redirect_elsewhere_does_not_get_the_key(project, monkeypatch, capfd):
    class Elsewhere(Server):
        def respond(self, number, path, headers, body):
            self.seen = dict(headers)
            return completion(body, _sentences(body))

    elsewhere = Elsewhere(lambda n, body: completion(body))
    server = Server(lambda n, body: (307, {"Location": f"{elsewhere.origin}{ASKED}"}, ""))
    try:
        for header in ("Authorization", "x-goog-api-key"):
            _ask(server.url, monkeypatch, key_header=header)
            assert holding({"headers": str(elsewhere.seen).encode()}, KEY) == []
    finally:
        server.stop()
        elsewhere.stop()
    assert holding({"stderr": capfd.readouterr().err.encode()}, KEY) == []


@pytest.mark.parametrize("name", ["OPENAI_API_KEY_2", "openai_api_key", "_MY_KEY", "HF_TOKEN"])
def test_names_of_variables_are_taken_and_what_they_hold_is_hidden(name, monkeypatch):
    assert list(secrets.in_values({"api_key_env": name})) == []
    assert list(secrets.in_values({"api_key_env": ""})) == []
    monkeypatch.setenv(name, "abcdef123456secretvalue")
    assert secrets.shown("you sent abcdef123456secretvalue") == "you sent ***"


def test_a_pasted_key_is_not_the_name_of_a_variable(monkeypatch):
    from pipeline.descriptions.server_params import api_key

    for pasted in (KEY, *TOKENS, "0123456789abcdef", "abcdef0123456789", "swordfish_123"):
        with pytest.raises(UserError) as caught:
            api_key(pasted)
        assert pasted not in str(caught.value)


def test_a_defect_s_traceback_holds_no_secret(monkeypatch, capfd):
    from stages.runner import stage

    monkeypatch.setenv("SAFT_TRACEBACK", "1")
    monkeypatch.setenv("PLANTED_API_KEY", KEY)

    @stage("x")
    def main() -> None:
        raise RuntimeError(f"{KEY} at http://me:{PASSWORD}@host for {TOKENS[1]}")

    with pytest.raises(SystemExit):
        main()
    shown = capfd.readouterr().err
    assert "Traceback" in shown
    assert holding({"stderr": shown.encode()}, KEY, PASSWORD, TOKENS[1]) == []

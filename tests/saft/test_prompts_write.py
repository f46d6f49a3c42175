"""`saft prompts write` against a stand-in server: written, refused, reviewed, asked."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.common.params import read_params
from pipeline.descriptions.prompts import read_prompts
from pipeline.images.classes import ClassEntry, write_classes
from saft.app import app
from saft.prompts.meta_prompt import read_meta_prompt
from stages import describe
from tests.support.failures import fails, one_line
from tests.support.openai_server import Response, Server, completion, refusal
from tests.support.project import DEMO, ROOT

FILE = Path("data/prompts/land.yaml")
ABOUT = "satellite photographs of {land} use, seen from above."
GOOD = [
    "Which colours does {} show?",
    "How is a [CLASS] laid out?",
    "Which lines and borders does <class> have?",
    "What is the outline of {category} from above?",
]
WRITTEN = [
    "Which colours does {} show?",
    "How is {} laid out?",
    "Which lines and borders does {} have?",
    "What is the outline of {} from above?",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("prompts", "meta_prompts", "exemplars", "confusions"):
        shutil.copytree(ROOT / "data" / name, Path("data") / name)
    write_classes(Path("data/classes/land.parquet"), [ClassEntry("c0", "annual crop land")], ())
    return tmp_path


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    """Answers with GOOD; params.yaml names it."""
    server = Server(lambda number, body: answered(body, GOOD))
    configure(server.url)
    yield server
    server.stop()


def answered(body: dict[str, Any], sentences: list[str]) -> Response:
    return completion(body, json.dumps({"sentences": sentences}))


def configure(url: str, **changes: object) -> None:
    values = read_params(DEMO)
    section = values["describe"]
    section |= {"dataset": "land", "backend": "openai", "prompts": "land", "seed": 3} | changes
    section["options"]["openai"] |= {
        "base_url": url, "model": "maker/model", "concurrency": 1, "connection_retries": 0,
        "retries": 1,
    }  # fmt: skip
    with Path("params.yaml").open("w") as stream:
        YAML().dump(values, stream)


def write(status: int, name: str = "land", about: str = ABOUT, questions: int = 4) -> str:
    words = ["prompts", "write", name, "--about", about, "--questions", str(questions)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == status, (done.output, done.exception)
    return done.output if status else done.stdout  # without the progress bar


def refused(**changes: Any) -> str:
    """The one line of an error; no file appeared."""
    before = sorted(Path("data").rglob("*"))
    errors = [line for line in write(1, **changes).splitlines() if line.startswith("error: ")]
    assert sorted(Path("data").rglob("*")) == before
    [line] = errors
    return line


def test_the_model_is_asked_with_the_sentence_and_the_set_says_where_it_is_from(server):
    output = write(0)
    assert output.splitlines()[:5] == [f"{FILE}:", *(f"  {text}" for text in WRITTEN)]
    assert f"Read the questions in {FILE}, edit them, and set reviewed: true" in output
    [body] = server.bodies
    message = body["messages"][0]["content"]
    assert (
        "data set: satellite photographs of {land} use, seen from above. Write exactly 4" in message
    )
    assert "What is the outline" not in message
    assert "{about}" not in message
    assert "{count}" not in message
    assert message.count("{}") == 6, "the class is the model's to write"
    schema = body["response_format"]["json_schema"]["schema"]["properties"]["sentences"]
    assert (schema["minItems"], schema["maxItems"]) == (4, 4)
    values, meta = read_params(FILE), read_meta_prompt("mpvr")
    assert values["version"] == 1
    assert values["questions"] == {f"q{i + 1}": text for i, text in enumerate(WRITTEN)}
    assert values["rules"] == read_prompts("visual").rules
    assert values["origin"] == {
        "about": ABOUT,
        "meta_prompt": {"name": "mpvr", "version": 1, "sha256": meta.digest()},
        "model": {"model": "maker/model", "served_by": ["maker/model"]},
        "seed": 3,
    }
    assert values["reviewed"] is False
    assert not list(Path(".scratch").rglob("answers.jsonl")), "no answer is kept for nothing"


def test_images_one_by_one_that_nobody_named_stop_no_questions(server):
    configure(server.url, per_image=True, exemplars="none")
    write(0)
    assert FILE.is_file()


def test_a_changed_meta_prompt_has_a_new_version(project):
    meta = read_meta_prompt("mpvr")
    assert {meta.version: meta.digest()[:16]} == {1: "ec8c7b6a10171904"}


def test_the_same_answer_gives_the_same_bytes(server):
    write(0)
    first = FILE.read_bytes()
    FILE.unlink()
    write(0)
    assert FILE.read_bytes() == first


def test_written_refused_reviewed_and_asked(server, capsys):
    write(0)
    assert fails(describe.main) == 1
    assert "data/prompts/land.yaml: a model wrote these questions; read them" in one_line(capsys)
    checked = CliRunner().invoke(app, ["check"])
    assert checked.exit_code == 1
    assert "land.yaml: a model wrote these questions" in checked.output
    FILE.write_text(FILE.read_text().replace("reviewed: false", "reviewed: true"))
    server.bodies.clear()
    server.answer = lambda number, body: answered(body, [f"It is {i} red." for i in range(5)])
    describe.main()
    asked = {body["messages"][0]["content"].split("\n")[0] for body in server.bodies}
    assert asked == {text.replace("{}", "annual crop land") for text in WRITTEN}
    provenance = json.loads(Path("data/descriptions/provenance.json").read_text())
    assert (provenance["prompts"], provenance["prompts_version"]) == ("land", 1)


def test_review_and_origin_change_no_digest(server):
    write(0)
    FILE.write_text(FILE.read_text().replace("reviewed: false", "reviewed: true"))
    written = read_prompts("land")
    text = FILE.read_text()
    FILE.write_text(text[: text.index("origin:")])
    assert read_prompts("land").digest() == written.digest()


def test_an_answer_that_came_is_not_asked_for_again(server, monkeypatch):
    """Interrupted while it writes: the second run asks nothing."""
    from saft.prompts import writing

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing, "_write", interrupted)
        write(130)
    assert not FILE.exists()
    assert len(server.bodies) == 1
    write(0)
    assert len(server.bodies) == 1
    assert read_params(FILE)["questions"]["q2"] == WRITTEN[1]


def test_an_unreadable_answer_is_asked_again_with_another_seed(server):
    server.answer = lambda number, body: (
        completion(body, "What?") if number == 0 else answered(body, GOOD)
    )
    write(0)
    assert len({body["seed"] for body in server.bodies}) == 2


@pytest.mark.parametrize(
    "form",
    ["{}", "{class}", "{{class}}", "${class}", "[CLASS]", "<class>", "(class)", "%s", "the {}"],
)
@pytest.mark.parametrize("layout", ["json", "lines"])
def test_an_answer_is_read_in_whichever_form_it_names_the_class(server, form, layout):
    texts = [text.replace("{}", form) for text in WRITTEN]
    lines = "\n".join(f"{i + 1}. {text}" for i, text in enumerate(texts))
    server.answer = lambda number, body: (
        answered(body, texts) if layout == "json" else completion(body, f"Here they are:\n{lines}")
    )
    write(0)
    assert list(read_params(FILE)["questions"].values()) == WRITTEN


def test_many_questions_may_take_more_tokens_than_sentences_about_a_class(server):
    write(1, questions=40)
    assert {body["max_tokens"] for body in server.bodies} == {1600}
    write(0)
    assert server.bodies[-1]["max_tokens"] == 512


def test_half_of_the_questions_are_enough_and_said(server):
    server.answer = lambda number, body: answered(
        body, [*GOOD[:2], "Describe {}.", "Which colours?"]
    )
    assert "2 of 4 could not be used" in write(0)
    assert list(read_params(FILE)["questions"].values()) == WRITTEN[:2]


def test_fewer_than_half_are_an_error_that_shows_one(server):
    server.answer = lambda number, body: answered(body, [GOOD[0], *["Describe {} in words."] * 3])
    line = refused()
    assert "maker/model wrote 1 of 4 usable questions" in line
    assert "not usable is, for example, 'Describe {} in words.'" in line


def test_the_meta_prompts_own_example_is_no_answer(server):
    example = re.findall(r'"(Wh[^"]+|How[^"]+)"', read_meta_prompt("mpvr").example)
    assert len(example) == 4
    server.answer = lambda number, body: answered(body, example)
    assert "wrote 0 of 4 usable questions" in refused()


def test_nothing_readable_is_an_error_without_an_example(server):
    server.answer = lambda number, body: completion(body, "")
    line = refused()
    assert "wrote 0 of 4 usable questions" in line
    assert "for example" not in line


def test_a_prompt_set_that_exists_stays(server):
    FILE.write_text("mine")
    assert "data/prompts/land.yaml: this prompt set exists and is not overwritten" in refused()
    assert FILE.read_text() == "mine"
    assert server.bodies == []


def test_a_prompt_set_that_appears_meanwhile_stays(server):
    def answer(number: int, body: dict[str, Any]) -> Response:
        FILE.write_text("mine")
        return answered(body, GOOD)

    server.answer = answer
    assert "this prompt set exists and is not overwritten" in write(1)
    assert FILE.read_text() == "mine"


@pytest.mark.parametrize("name", ["a/b", "../x", "a b", ".x", "", "a.b", "null", "12", "true"])
def test_a_name_must_be_a_plain_word(server, name):
    assert f"'{name}' cannot be the name of a prompt set" in refused(name=name)
    assert server.bodies == []


def test_the_sentence_must_say_something(server):
    assert "--about is empty" in refused(about="  ")


def test_a_backend_that_asks_no_model_is_named(server):
    configure(server.url, backend="bundled")
    assert "describe.backend: bundled asks no model; set vllm or openai" in refused()


def test_a_server_that_refuses_leaves_no_file(server):
    server.answer = lambda number, body: refusal(404, "no such model")
    assert "no such model" in refused()


def test_a_meta_prompt_that_is_none_is_named(server):
    Path("data/meta_prompts/mpvr.yaml").write_text("version: 1\n")
    assert "data/meta_prompts/mpvr.yaml: missing key 'system'" in refused()

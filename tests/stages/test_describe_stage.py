"""The describe stage as it asks a server: the questions that arrive there."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.images.classes import ClassEntry, write_classes
from stages import describe
from tests.support.openai_server import Server, completion
from tests.support.project import DEMO, ROOT

CLASSES = [
    ClassEntry("n02279972", "monarch"),
    ClassEntry("n02231487", "walking stick", "an insect like a twig"),
    ClassEntry("mine", "crane", "a machine that lifts"),
    ClassEntry("yours", "sunglasses"),
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("prompts", "exemplars", "confusions"):
        shutil.copytree(ROOT / "data" / name, Path("data") / name)
    write_classes(Path("data/classes/things.parquet"), CLASSES, ())
    return tmp_path


def questions(gloss: str) -> list[str]:
    """The first lines of what the stage asks, class by class."""
    server = Server(lambda number, body: completion(body))
    values = YAML(typ="safe").load(DEMO.read_text())
    section = values["describe"]
    section |= {"dataset": "things", "backend": "openai", "prompts": "appearance", "gloss": gloss}
    section["options"]["openai"] |= {
        "base_url": server.url, "answers": 1, "sentences": 3, "concurrency": 1,
    }  # fmt: skip
    with open("params.yaml", "w") as stream:
        YAML().dump(values, stream)
    try:
        describe.main()
    finally:
        server.http.shutdown()
        server.http.server_close()
    return [str(body["messages"][0]["content"]).split("\n")[0] for body in server.bodies]


def provenance() -> dict[str, object]:
    return json.loads(Path("data/descriptions/provenance.json").read_text())


def test_the_known_meanings_are_in_the_questions(project):
    monarch, *others = questions("known")
    assert monarch.startswith("What does a monarch (large migratory American butterfly having ")
    assert others == [
        "What does a walking stick (an insect like a twig) typically look like?",
        "What does a crane (a machine that lifts) typically look like?",
        "What does a pair of sunglasses typically look like?",
    ]
    assert provenance()["classes_with_gloss"] == 3


def test_none_asks_about_the_bare_names(project):
    assert questions("none") == [
        "What does a monarch typically look like?",
        "What does a walking stick typically look like?",
        "What does a crane typically look like?",
        "What does a pair of sunglasses typically look like?",
    ]
    assert provenance()["classes_with_gloss"] == 0

"""Captions of single images, by the stages that pick the images and that ask a server."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.clip.folders import BASE_MODEL
from pipeline.common.tables import read_table, write_table
from pipeline.descriptions import captions
from pipeline.descriptions import exemplars as pipeline_exemplars
from pipeline.descriptions.artifact import SAMPLE, SCHEMA
from pipeline.descriptions.exemplars import FOLDER as EXEMPLARS
from pipeline.descriptions.exemplars import SCHEMA as EXEMPLAR_SCHEMA
from pipeline.descriptions.exemplars import to_columns, to_png
from pipeline.images.image_set import open_images
from stages import describe, exemplars
from stages import filter as filter_stage
from tests.support.failures import fails, one_line
from tests.support.openai_server import Response, Server, completion, refusal
from tests.support.project import ROOT
from tests.support.tiny_project import write_params

FOLDER = Path("data/descriptions")
IMAGES = 16  # of the tiny set, in three classes
QUESTIONS = 2


def digest(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()


def shown(body: dict[str, Any]) -> str:
    """The SHA-256 of the only image in a request."""
    picture, text = body["messages"][0]["content"]
    assert (picture["type"], text["type"]) == ("image_url", "text")
    assert text["text"].startswith("The picture above shows ")
    return digest(base64.b64decode(picture["image_url"]["url"].partition(",")[2]))


def caption(number: int, body: dict[str, Any]) -> Response:
    """Two sentences that name the image and the question."""
    seen = shown(body)
    words = [f"A thing {seen} {body['seed']}, {half}." for half in ("left", "right")]
    return completion(body, json.dumps({"sentences": words}))


@pytest.fixture
def server() -> Iterator[Server]:
    stand_in = Server(caption)
    yield stand_in
    stand_in.stop()


@pytest.fixture
def project(packed: Path, clip_folder: Path, server: Server, monkeypatch) -> Path:
    """The tiny set with all of its images picked."""
    monkeypatch.setenv("DVC_ROOT", str(packed))
    for name in ("prompts", "exemplars", "confusions"):
        shutil.copytree(ROOT / "data" / name, packed / "data" / name)
    shutil.copytree(clip_folder, packed / BASE_MODEL)
    ask(packed, server)
    exemplars.main("every")
    return packed


def ask(project: Path, server: Server, **changes: Any) -> None:
    section = {
        "dataset": "tiny", "backend": "openai", "prompts": "caption", "exemplars": "every",
        "per_image": True, "options.openai.base_url": server.url, "options.openai.answers": 1,
        "options.openai.sentences": 2, "options.openai.concurrency": 1,
    }  # fmt: skip
    every = {"images_per_class": None, "candidates_per_class": None}
    values = {f"describe.{key}": value for key, value in section.items()}
    write_params(project, **{"exemplars.every": every, "filter.top_k": 3}, **values | changes)


def content() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FOLDER.iterdir()}


def test_each_caption_is_of_the_image_that_was_shown(project, server):
    describe.main()
    images = open_images("tiny")
    pngs = [digest(to_png(images.pixels[number])) for number in range(IMAGES)]
    assert len(images.labels) == IMAGES
    assert sorted(map(shown, server.bodies)) == sorted(pngs * QUESTIONS)
    rows = read_table(FOLDER / captions.FILE, captions.SCHEMA).to_pylist()
    assert len(rows) == IMAGES * QUESTIONS * 2
    for row in rows:
        assert row["sentence"].split()[2] == pngs[row["image"]]
        assert row["class_id"] == images.classes[images.labels[row["image"]]].class_id
    assert [(r["class_id"], r["image"]) for r in rows] == sorted(
        (r["class_id"], r["image"]) for r in rows
    )
    sentences = read_table(FOLDER / "descriptions.parquet", SCHEMA).to_pylist()
    key = [*SAMPLE, "sentence", "tokens"]
    assert {tuple(r[k] for k in key) for r in rows} == {tuple(r[k] for k in key) for r in sentences}
    made = json.loads((FOLDER / "provenance.json").read_text())
    assert (made["per_image"], made["images"], made["exemplars_per_class"]) == (True, IMAGES, 6)
    assert made["counts"]["answers"] == IMAGES * QUESTIONS


def test_the_filter_takes_the_captions_as_sentences_of_the_class(project, server):
    colours = ["red", "blue", "green", "black", "white", "brown", "grey", "pink"]
    nouns = ["ball", "cup", "map", "hat", "box", "bell", "sofa", "boat"]
    texts = [f"a {colour} {noun}" for colour in colours for noun in nouns]

    def short(number: int, body: dict[str, Any]) -> Response:
        return completion(body, json.dumps({"sentences": texts[2 * number : 2 * number + 2]}))

    server.answer = short
    describe.main()
    filter_stage.main()
    kept = pq.read_table("data/filtered/descriptions.parquet").to_pylist()
    assert len(kept) == IMAGES * QUESTIONS * 2
    assert sum(row["kept"] for row in kept) == 3 * 3


def test_a_killed_run_asks_about_the_other_images_only(project, server):
    describe.main()
    whole = content()
    shutil.rmtree(FOLDER)
    server.bodies.clear()
    stuck, over = threading.Event(), threading.Event()

    def stalls(number: int, body: dict[str, Any]) -> Response:
        if number == 9:
            stuck.set()
            over.wait(60)
        return caption(number, body)

    server.answer = stalls
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.describe"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running:
        assert stuck.wait(120)
        running.kill()
    over.set()
    assert not FOLDER.exists()
    server.answer = caption
    asked = [body["seed"] for body in server.bodies[:9]]
    server.bodies.clear()
    describe.main()
    assert len(server.bodies) == IMAGES * QUESTIONS - 9
    assert not {body["seed"] for body in server.bodies} & set(asked)
    again = content()
    parquet = ("descriptions.parquet", captions.FILE)
    assert [again[name] for name in parquet] == [whole[name] for name in parquet]


def test_without_per_image_there_is_no_caption_and_the_folder_is_replaced(project, server):
    describe.main()
    assert set(content()) == {"descriptions.parquet", captions.FILE, "provenance.json"}
    server.answer = lambda number, body: completion(body)
    changes = {"per_image": False, "prompts": "appearance", "options.openai.sentences": 3}
    ask(project, server, **{f"describe.{key}": value for key, value in changes.items()})
    describe.main()
    assert set(content()) == {"descriptions.parquet", "provenance.json"}
    assert "per_image" not in json.loads((FOLDER / "provenance.json").read_text())
    assert len(server.bodies[-1]["messages"][0]["content"]) >= 5 + 1, "all images of a class"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"per_image": False}, "prompt set caption are about one picture; set true"),
        ({"prompts": "visual"}, "prompt set visual are about a class, not about one picture"),
    ],
)
def test_questions_about_a_picture_and_about_a_class_are_not_mistaken(
    project, server, capsys, changes, words
):
    ask(project, server, **{f"describe.{key}": value for key, value in changes.items()})
    assert fails(describe.main) == 1
    assert words in one_line(capsys)
    assert server.bodies == []
    assert not FOLDER.exists()


def test_a_class_without_a_caption_is_refused_and_the_answers_are_kept(project, server, capsys):
    def silent(number: int, body: dict[str, Any]) -> Response:
        about_last = "n02" in body["messages"][0]["content"][1]["text"]
        return completion(body, "no") if about_last else caption(number, body)

    server.answer = silent
    assert fails(describe.main) == 1
    assert "no sentence for 1 of 3 classes: n02" in one_line(capsys)
    assert not FOLDER.exists()
    server.answer = lambda number, body: refusal(401, "no more")
    ask(project, server, **{"describe.only": ["n00", "n01"]})
    describe.main()
    assert json.loads((FOLDER / "provenance.json").read_text())["images"] == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"exemplars": "none"},
            "params.yaml: describe.per_image: describe.exemplars is none, so there is no image; "
            "set that to an entry of section exemplars, or per_image: false",
        ),
        (
            {"exemplars": "none", "backend": "bundled"},
            "params.yaml: describe.per_image: backend bundled shows images to nobody; set false",
        ),
        ({"backend": "bundled"}, "describe.exemplars: backend bundled shows images to nobody"),
        ({"exemplars": "far"}, "data/exemplars/far.parquet: not found"),
    ],
)
def test_what_cannot_be_described_is_one_line(project, server, capsys, changes, message):
    ask(project, server, **{f"describe.{key}": value for key, value in changes.items()})
    capsys.readouterr()
    assert fails(describe.main) == 1
    assert message in one_line(capsys)
    assert (server.bodies, FOLDER.exists()) == ([], False)


def test_a_backend_without_a_model_is_named_before_too_many_images_are(
    project, server, capsys, monkeypatch
):
    monkeypatch.setattr(pipeline_exemplars, "MOST_TOGETHER", 2)
    images = open_images("tiny")
    picked = [
        [(number, 0.5) for number in range(3 * label, 3 * label + 3)]
        for label in range(len(images.classes))
    ]
    columns = to_columns(images.classes, picked, images.pixels)
    write_table(EXEMPLARS / "every.parquet", columns, EXEMPLAR_SCHEMA)
    ask(project, server, **{"describe.backend": "bundled", "describe.per_image": False})
    capsys.readouterr()
    assert fails(describe.main) == 1
    line = "params.yaml: describe.exemplars: backend bundled shows images to nobody; set none"
    assert one_line(capsys).endswith(line)
    ask(project, server, **{"describe.per_image": False, "describe.prompts": "visual"})
    capsys.readouterr()
    assert fails(describe.main) == 1
    assert "class 'n00' has 3 images, of which a message takes at most 2" in one_line(capsys)

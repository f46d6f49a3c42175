"""Images of a class that are described one by one: the questions, the seeds, the captions."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.common.errors import UserError
from pipeline.common.params import validate
from pipeline.common.tables import write_table
from pipeline.descriptions import captions, exemplars
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.artifact import SCHEMA, to_columns
from pipeline.descriptions.completeness import Key
from pipeline.descriptions.exemplars import ExemplarParams
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Sentence
from pipeline.descriptions.messages import Query, request_seed
from pipeline.descriptions.queries import answer_of, first_queries, in_order
from pipeline.images.classes import ClassEntry
from tests.support.python_model import Model, good, run, said, task
from tests.support.tasks import CLASSES, OPTIONS, PICTURES

PARAMS = GenerationParams.model_validate(OPTIONS)
ONE_BY_ONE = {"exemplars": PICTURES, "per_image": True}


def queries(folder: Path, **changes: object) -> list[Query]:
    return first_queries(task(folder, **ONE_BY_ONE | changes), PARAMS)


def test_every_question_is_asked_about_each_image_on_its_own(tmp_path):
    asked = queries(tmp_path)
    assert len(asked) == 3 * 2 * 5 * 2
    assert [(q.class_id, q.image) for q in asked[::10]] == [
        ("c0", 1), ("c0", 0), ("c1", 3), ("c1", 2), ("c2", 5), ("c2", 4),
    ]  # fmt: skip
    assert all(query.images == [f"png {query.image}".encode()] for query in asked)
    assert {query.prompt_id for query in asked[:10]} == set(task(tmp_path).prompts.questions)


def test_a_seed_depends_on_the_image_and_not_on_the_others(tmp_path):
    seeds = {answer_of(query): query.seed for query in queries(tmp_path)}
    assert len(set(seeds.values())) == 60
    assert seeds["c0", "looks_like", 0, 1] == request_seed("c0", "looks_like", 0, 0, 0, 1)
    # A value written down, and those of the questions about a class stay as they were.
    assert request_seed("c0", "looks_like", 0, 0, 0, 5) == 1172491644
    fewer = {"c0": PICTURES["c0"][1:]}
    some = queries(tmp_path, classes=CLASSES[:1], exemplars=fewer)
    assert {answer_of(query): query.seed for query in some}.items() <= seeds.items()


def test_the_keys_of_images_shown_together_are_what_they_were(tmp_path):
    """The digest is that of the commit before images were described one by one."""
    run(tmp_path, Model(), exemplars=PICTURES)
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    keys = sorted(json.loads(line)[0] for line in lines)
    assert len(keys) == 30
    digest = hashlib.sha256("".join(keys).encode()).hexdigest()
    assert digest == "db514246917c39606c11abc34cc52e731ec0aaa8632cda321eff3b5b67c0e2e7"


def test_samples_are_counted_through_the_images_of_a_class(tmp_path):
    one_by_one = task(tmp_path, **ONE_BY_ONE)
    texts: dict[Key, list[str]] = {
        answer_of(q): [f"{q.image} {i}" for i in range(3)] for q in queries(tmp_path)
    }
    del texts["c0", "looks_like", 1, 1]
    sentences = in_order(one_by_one, PARAMS, "test", texts)
    of_one = [s for s in sentences if (s.class_id, s.prompt_id) == ("c0", "looks_like")]
    assert [(s.image, s.sample_index) for s in of_one] == [
        (1, 0), (1, 1), (1, 2), (0, 6), (0, 7), (0, 8), (0, 9), (0, 10), (0, 11),
    ]  # fmt: skip
    assert all(s.text.startswith(f"{s.image} ") for s in sentences)
    assert len({(s.class_id, s.prompt_id, s.sample_index) for s in sentences}) == len(sentences)


def test_lost_and_missing_answers_are_counted_by_class(tmp_path):
    def says(query: Query) -> Reply:
        if query.image == 3 and query.prompt_id == "caption":
            return Reply("no", True, 1, 1)
        return said("It is red.") if query.image == 4 and query.answer == 1 else good(query)

    sentences, statistics = run(tmp_path, Model(says), options={"retries": 1}, **ONE_BY_ONE)
    counts = statistics["counts"]
    assert (counts["answers"], counts["lost"], counts["missing_sentences"]) == (60, 2, 16)
    assert (counts["unreadable"], counts["short"]) == (4, 10)
    assert statistics["missing_by_class"] == {"c1": 6, "c2": 10}
    assert len(sentences) == 180 - 16


def test_refusals_name_the_image(tmp_path, capsys):
    def says(query: Query) -> Reply:
        declined = Reply("", True, 1, 1, refusal="I cannot describe people.")
        return declined if query.image == 2 else good(query)

    _, statistics = run(tmp_path, Model(says), options={"retries": 0}, **ONE_BY_ONE)
    assert statistics["refused"]["c1/looks_like/2"] == "I cannot describe people."
    assert "c1/looks_like/2" in capsys.readouterr().err


def test_an_interrupted_run_asks_about_the_other_images_only(tmp_path):
    expected, _ = run(tmp_path / "whole", Model(), **ONE_BY_ONE)
    asked: list[Query] = []

    def dies(query: Query) -> Reply:
        if len(asked) == 25:
            raise ConnectionError("gone")
        asked.append(query)
        return good(query)

    with pytest.raises(ConnectionError):
        run(tmp_path / "cut", Model(dies), **ONE_BY_ONE)
    model = Model()
    sentences, statistics = run(tmp_path / "cut", model, **ONE_BY_ONE)
    rest = {answer_of(query) for query in model.batches[0]}
    assert len(rest) == 60 - 25
    assert not rest & {answer_of(query) for query in asked}
    assert statistics["counts"]["from_earlier_run"] == 25
    assert sentences == expected


def test_images_of_the_same_content_are_two_answers(tmp_path):
    twins = {"c0": [PICTURES["c0"][0]._replace(image=number) for number in (8, 9)]}
    model = Model()
    run(tmp_path, model, exemplars=twins, per_image=True, classes=CLASSES[:1])
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 20


ANT, BEE = ClassEntry("n2", "ant"), ClassEntry("n1", "bee")
SAID = Sentence("n1", "A bee.", "vllm", "caption", "picture", 0, 4)
SENTENCES = [
    SAID,
    replace(SAID, text="A bee on a leaf.", sample_index=1, image=2),
    replace(SAID, text="A bee has wings.", prompt_id="attributes", image=4),
    replace(SAID, text="An ant.", class_id="n2", image=7),
    replace(SAID, text=" ", class_id="n2", sample_index=1, image=9),
]


def written(folder: Path, sentences: list[Sentence]) -> list[captions.Row]:
    columns = to_columns(sentences, [ANT, BEE], lambda texts: [len(text) for text in texts])
    folder.mkdir(exist_ok=True)
    write_table(folder / "descriptions.parquet", columns, SCHEMA)
    captions.write_captions(folder, captions.with_images(columns, sentences))
    return pq.read_table(folder / "descriptions.parquet").to_pylist()


def test_captions_are_in_the_order_of_class_image_prompt_and_sample(tmp_path):
    written(tmp_path / "a", SENTENCES)
    assert pq.read_schema(tmp_path / "a/captions.parquet").equals(captions.SCHEMA)
    rows = pq.read_table(tmp_path / "a/captions.parquet").to_pylist()
    assert [(row["class_id"], row["image"], row["sentence"]) for row in rows] == [
        ("n2", 7, "An ant."),
        ("n1", 2, "A bee on a leaf."),
        ("n1", 4, "A bee."),
        ("n1", 4, "A bee has wings."),
    ]
    assert rows[1] == {
        "class_id": "n1", "image": 2, "prompt_set": "caption", "prompt_id": "picture",
        "sample_index": 1, "sentence": "A bee on a leaf.", "source": "vllm", "tokens": 16,
    }  # fmt: skip
    written(tmp_path / "b", [*SENTENCES[:1], *SENTENCES[:0:-1]])
    first, again = (tmp_path / name / "captions.parquet" for name in "ab")
    assert first.read_bytes() == again.read_bytes()


def test_sentences_about_classes_have_no_captions_file(tmp_path):
    written(tmp_path, [replace(sentence, image=None) for sentence in SENTENCES])
    assert [path.name for path in tmp_path.iterdir()] == ["descriptions.parquet"]


def test_captions_are_read_back_onto_their_sentences(tmp_path):
    rows = written(tmp_path, SENTENCES)
    artifact = tmp_path / "descriptions.parquet"
    read = captions.read_captions(artifact, rows)
    assert {row["sentence"]: row["image"] for row in read} == {
        "An ant.": 7, "A bee.": 4, "A bee on a leaf.": 2, "A bee has wings.": 4,
    }  # fmt: skip
    assert captions.read_captions(tmp_path / "elsewhere/descriptions.parquet", rows) == rows
    assert captions.read_captions(tmp_path / "other.parquet", rows[1:]) == rows[1:]
    with pytest.raises(UserError, match=r"captions.parquet: image 7 of class 'n2'.*remove its row"):
        captions.read_captions(artifact, rows[1:])


def test_an_exemplar_set_of_all_images_is_for_images_one_by_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = {"images_per_class": None, "candidates_per_class": None}
    assert validate(entry, ExemplarParams, "params.yaml: exemplars.all").images_per_class is None
    columns = {
        "class_id": ["n2"] * 65, "rank": range(65), "image": range(65), "similarity": [0.5] * 65,
        "png": [exemplars.PNG] * 65,
    }  # fmt: skip
    write_table(exemplars.FOLDER / "all.parquet", columns, exemplars.SCHEMA)
    images = exemplars.read_exemplars("all", [ANT], [ANT], together=False)
    assert [exemplar.image for exemplar in images["n2"]] == list(range(65))
    with pytest.raises(UserError, match="class 'n2' has 65 images, of which a message takes at m"):
        exemplars.read_exemplars("all", [ANT], [ANT])


def test_too_many_images_of_a_class_that_is_not_described_are_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.zeros((66, 3, 1, 1), np.uint8)
    picked = [[(number, 0.5) for number in numbers] for numbers in (range(65), [65])]
    columns = exemplars.to_columns([ANT, BEE], picked, pixels)
    write_table(exemplars.FOLDER / "all.parquet", columns, exemplars.SCHEMA)
    assert [
        exemplar.image for exemplar in exemplars.read_exemplars("all", [BEE], [ANT, BEE])["n1"]
    ] == [65]
    with pytest.raises(UserError, match="class 'n2' has 65 images"):
        exemplars.read_exemplars("all", [BEE, ANT], [BEE, ANT])

"""Confusable classes as an artifact, and in the questions about a class."""

import hashlib

import pyarrow.parquet as pq
import pytest

from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, write_table
from pipeline.descriptions import confusions
from pipeline.descriptions.answer_log import AnswerLog
from pipeline.descriptions.asking import generation_provenance
from pipeline.descriptions.confusions import Confusions, read_confusions
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Task
from pipeline.descriptions.prompts import read_prompts
from pipeline.descriptions.queries import content_of, first_queries
from pipeline.images.classes import ClassEntry
from tests.support.project import ROOT
from tests.support.tasks import OPTIONS

TABLE = [ClassEntry("n1", "pike"), ClassEntry("n2", "trout"), ClassEntry("n3", "eel", "a fish")]
CONFUSED = [[(2, 0.9), (1, 0.5)], [(0, 0.7)], [(0, 0.9)]]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    columns = confusions.to_columns(TABLE, CONFUSED)
    write_table(confusions.output_file("names"), columns, confusions.SCHEMA)
    return confusions.output_file("names")


def task(chosen: Confusions, prompts: str = "contrast") -> Task:
    log = AnswerLog(confusions.FOLDER / "answers.jsonl")
    prompt_set = read_prompts(prompts, ROOT / "data/prompts")
    return Task(TABLE, prompts, prompt_set, {}, 0, log, TABLE, confusions=chosen)


def test_the_file_holds_classes_with_rank_and_score(file):
    rows = read_table(file, confusions.SCHEMA).to_pylist()
    assert [tuple(row.values())[:3] for row in rows] == [
        ("n1", 0, "n3"), ("n1", 1, "n2"), ("n2", 0, "n1"), ("n3", 0, "n1"),
    ]  # fmt: skip
    assert rows[1]["score"] == 0.5
    before = file.read_bytes()
    write_table(file, confusions.to_columns(TABLE, CONFUSED), confusions.SCHEMA)
    assert file.read_bytes() == before


def test_the_names_come_from_the_whole_class_table(file):
    [pike, *_] = TABLE
    chosen = read_confusions("names", [pike], TABLE)
    assert chosen.others_of == {"n1": [TABLE[2], TABLE[1]]}
    made = chosen.provenance()
    assert made == {
        "confusions": "names", "confusions_per_class": 2, "confusions_sha256": chosen.digest(),
    }  # fmt: skip


def test_the_digest_is_of_the_ids_of_the_classes_asked_about_and_of_their_order(file):
    [pike, trout, eel] = TABLE
    rows = read_confusions("names", TABLE, TABLE)
    by_hand = b'{"n1": ["n3", "n2"], "n2": ["n1"], "n3": ["n1"]}'
    assert rows.digest() == hashlib.sha256(by_hand).hexdigest()
    renamed = [ClassEntry(entry.class_id, entry.name.upper()) for entry in TABLE]
    assert read_confusions("names", renamed[::-1], renamed).digest() == rows.digest()
    other_order = Confusions("names", {**rows.others_of, "n1": [trout, eel]})
    assert other_order.digest() != rows.digest()
    assert read_confusions("names", [pike], TABLE).digest() != rows.digest()


def test_what_does_not_fit_names_the_class_and_the_command(file):
    command = "run `dvc repro stages/dvc.yaml:describe`"
    more = [*TABLE, ClassEntry("n4", "carp")]
    with pytest.raises(UserError, match=f"no confusable class for class 'n4' .1 class.*{command}"):
        read_confusions("names", more, more)
    with pytest.raises(UserError, match=f"class 'n3' is not in the class table; {command}"):
        read_confusions("names", TABLE[:2], TABLE[:2])
    with pytest.raises(UserError, match=r"far\.parquet: not found"):
        read_confusions("far", TABLE, TABLE)


def test_a_class_without_another_name_beside_it_is_an_error():
    with pytest.raises(UserError, match="class 'n1' cannot be contrasted.*describe.dataset"):
        confusions.to_columns(TABLE[:1], [[]])
    with pytest.raises(UserError, match="'none' stands for none; choose another name"):
        confusions.output_file("none")


def test_the_committed_file_has_no_confusable_class(monkeypatch):
    monkeypatch.chdir(ROOT)
    path = confusions.FOLDER / "none.parquet"
    assert read_table(path, confusions.SCHEMA).num_rows == 0
    assert pq.read_schema(path).equals(confusions.SCHEMA)
    assert read_confusions("none", TABLE, TABLE) == Confusions()


def test_the_questions_name_them_with_their_glosses_and_the_request_depends_on_them(file):
    """An "eel" or a "crane" without its meaning would be asked about as whatever the model takes
    it for, just as the class itself would."""
    params = GenerationParams.model_validate(OPTIONS | {"answers": 1})
    asked = first_queries(task(read_confusions("names", TABLE, TABLE)), params)
    first = [query.text.split("\n")[0] for query in asked if query.prompt_id == "tells_apart"]
    assert first == [
        "What tells a pike apart from an eel (a fish) or a trout to the eye?",
        "What tells a trout apart from a pike to the eye?",
        "What tells an eel (a fish) apart from a pike to the eye?",
    ]
    [pike, trout, _] = TABLE
    others = Confusions("other", {"n1": [trout], "n2": [pike], "n3": [pike]})
    keys, changed = (
        [content_of(query) for query in queries]
        for queries in (asked, first_queries(task(others), params))
    )
    assert [a == b for a, b in zip(keys, changed, strict=True)] == [False] * 3 + [True] * 6


def test_a_set_of_questions_without_others_is_asked_as_ever(file):
    params = GenerationParams.model_validate(OPTIONS)
    chosen = read_confusions("names", TABLE, TABLE)
    plain, with_others = (
        [content_of(query) for query in first_queries(task(confused, "cupl"), params)]
        for confused in (Confusions(), chosen)
    )
    assert plain == with_others


def test_provenance_says_which_and_how_many_and_nothing_of_none(file):
    params = GenerationParams.model_validate(OPTIONS)
    made = generation_provenance(task(read_confusions("names", TABLE, TABLE)), params)
    assert (made["confusions"], made["confusions_per_class"]) == ("names", 2)
    assert len(made["confusions_sha256"]) == 64
    assert not [key for key in generation_provenance(task(Confusions()), params) if "conf" in key]

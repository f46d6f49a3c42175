"""The artifact's rows and order, the bundled backend, and which classes are described."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.backends import bundled
from pipeline.common.errors import UserError
from pipeline.common.tables import write_table
from pipeline.descriptions.artifact import (
    SCHEMA,
    classes_without_sentence,
    read_artifact,
    to_columns,
)
from pipeline.descriptions.interface import Answers, Sentence, Task
from pipeline.descriptions.params import classes_to_describe
from pipeline.descriptions.prompts import read_prompts
from pipeline.descriptions.tokens import count_tokens
from pipeline.images.classes import ClassEntry
from pipeline.prepare.outlines import SHAPES
from pipeline.prepare.rendering import COLOURS, letters

ROOT = Path(__file__).parents[2]
ANT, ELEPHANT = ClassEntry("n1", "ant"), ClassEntry("n2", "african elephant")


def said(class_id: str, text: str, prompt_id: str = "p", index: int = 0) -> Sentence:
    return Sentence(class_id, text, "vllm", "cupl", prompt_id, index)


def test_rows_are_in_class_prompt_and_sample_order_whatever_came_first(tmp_path):
    sentences = [
        said("n2", "grey", "p", 1),
        said("n1", "A photo of a tench", "q"),
        said("n2", "big", "p", 0),
        said("n1", "small  and\nraw ", "p"),
        said("n1", " \n", "p", 1),
    ]
    columns = to_columns(sentences, [ANT, ELEPHANT], count_tokens)
    assert columns["sentence"] == ["small  and\nraw ", "A photo of a tench", "big", "grey"]
    assert columns["class_name"] == ["ant", "ant", "african elephant", "african elephant"]
    assert columns["prompt_id"] == ["p", "q", "p", "p"]
    assert columns["tokens"] == [5, 8, 3, 3]
    write_table(tmp_path / "a.parquet", columns, SCHEMA)
    assert pq.read_schema(tmp_path / "a.parquet").equals(SCHEMA)
    rows_of = read_artifact(tmp_path / "a.parquet", [ANT, ELEPHANT])
    assert [row["sample_index"] for row in rows_of["n2"]] == [0, 1]
    with pytest.raises(UserError, match="class 'n2' is not in the class table"):
        read_artifact(tmp_path / "a.parquet", [ANT])


def test_strangers_and_doubles_are_refused():
    with pytest.raises(UserError, match="unknown class 'n2'"):
        to_columns([said("n2", "grey")], [ANT], count_tokens)
    with pytest.raises(UserError, match="two sentences are sample .*'n1'.*'cupl', 'p', 0"):
        to_columns([said("n1", "a"), said("n1", "b")], [ANT], count_tokens)
    assert classes_without_sentence(Answers([said("n1", " ")]), [ANT, ELEPHANT]) == ["n1", "n2"]
    assert classes_without_sentence(Answers([said("n1", "a")]), [ANT, ELEPHANT]) == ["n2"]


def test_some_classes_only_and_by_id():
    classes = [ANT, ELEPHANT]
    assert classes_to_describe(classes, None, "t") == classes
    assert classes_to_describe(classes, ["n2"], "t") == [ELEPHANT]
    with pytest.raises(UserError, match=r"describe.only: 'ant' is no class id of t"):
        classes_to_describe(classes, ["ant"], "t")
    wrong = [f"x{number}" for number in range(8)]
    with pytest.raises(
        UserError, match=r"'x0', 'x1', 'x2', 'x3', 'x4' and 3 more are no class ids"
    ):
        classes_to_describe(classes, ["n1", *wrong], "t")
    with pytest.raises(UserError, match="describe.only: names no class"):
        classes_to_describe(classes, [], "t")
    with pytest.raises(UserError, match="t: class 'n3' has an empty name; name it"):
        classes_to_describe([ANT, ClassEntry("n3", " ")], None, "t")
    with pytest.raises(UserError, match="t: class id 'n1' stands there more than once"):
        classes_to_describe([ANT, ANT], None, "t")


def test_the_bundled_file_covers_the_demo_and_plants_wrong_sentences(monkeypatch):
    monkeypatch.chdir(ROOT)
    classes = [ClassEntry(f"{c}-{s}", f"{c} {s}") for s in SHAPES for c in COLOURS]
    classes += [ClassEntry(letter.class_id, letter.name) for letter in letters()]
    task = Task(classes, "visual", read_prompts("visual"), {}, 0)
    answers = bundled.describe(task, bundled.Params())
    planted = [s for s in answers.sentences if s.source == bundled.PLANTED]
    assert len(planted) == 3 * len(classes)
    assert len(answers.sentences) - len(planted) == 8 * len(classes)
    assert len({(s.class_id, s.text) for s in answers.sentences}) == len(answers.sentences)
    assert to_columns(answers.sentences, classes, lambda texts: [0] * len(texts))
    stranger = Task([ANT], "visual", read_prompts("visual"), {}, 0)
    with pytest.raises(UserError, match="no descriptions for class 'n1'"):
        bundled.describe(stranger, bundled.Params())

"""Descriptions by id or exact name; the filter's ranking; embeddings on disk."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import embed
from pipeline.descriptions import Answers, Sentence, bundled, file, in_class_order
from pipeline.errors import UserError
from pipeline.filter import FilterParams, check_counts, rank_sentences, ranking
from pipeline.images import ClassEntry
from pipeline.params import validate
from pipeline.rendering import COLOURS, SHAPES, letters
from pipeline.tables import write_table

ROOT = Path(__file__).parents[1]
ANT, ELEPHANT = ClassEntry("n1", "ant"), ClassEntry("n2", "african elephant")
CRANES = [ClassEntry("n3", "crane"), ClassEntry("n4", "crane")]


def from_file(path: Path, classes: list[ClassEntry], fill: str | None = None) -> Answers:
    return file.describe(classes, file.Params(path=str(path), fill=fill), seed=0)


def json_file(tmp_path: Path, values: object) -> Path:
    (tmp_path / "d.json").write_text(json.dumps(values))
    return tmp_path / "d.json"


def test_ids_win_over_names_and_substrings_never_match(tmp_path):
    path = json_file(tmp_path, {"ant": ["small"], "n2": ["grey"], "elephant": ["wrong"]})
    texts = [(s.class_id, s.text) for s in from_file(path, [ANT, ELEPHANT]).sentences]
    assert texts == [("n1", "small"), ("n2", "grey")]
    path = json_file(tmp_path, {"ant": ["small"], "Ant": ["capital"]})
    with pytest.raises(UserError, match=r"for 1 of 2 classes: n2 \(african elephant\)"):
        from_file(path, [ANT, ELEPHANT])


def test_a_name_shared_by_two_ids_is_refused_until_keyed_by_id(tmp_path):
    with pytest.raises(UserError, match="several classes are named 'crane'; key them by id"):
        from_file(json_file(tmp_path, {"crane": ["a bird"]}), CRANES)
    half = {"n3": [], "n4": ["a machine"], "crane": ["a bird"]}
    with pytest.raises(UserError, match="no sentences for 1 of 2|for 1 of 2 classes: n3"):
        from_file(json_file(tmp_path, half), CRANES)
    answers = from_file(json_file(tmp_path, {"n3": ["a bird"], "n4": ["a machine"]}), CRANES)
    assert [s.text for s in answers.sentences] == ["a bird", "a machine"]


def test_an_empty_class_is_an_error_or_a_recorded_template(tmp_path):
    path = json_file(tmp_path, {"ant": []})
    with pytest.raises(UserError, match="n1"):
        from_file(path, [ANT])
    answers = from_file(path, [ANT], fill="This is a photo of a {}")
    assert answers.sentences == [Sentence("n1", "This is a photo of a ant", "template")]
    assert answers.provenance["filled"] == ["n1"]


def test_parquet_is_read_by_id_or_name(tmp_path):
    for key, value in (("class_id", "n1"), ("name", "ant")):
        pd.DataFrame({key: [value, value], "text": ["a", "b"]}).to_parquet(tmp_path / "d.parquet")
        assert [s.text for s in from_file(tmp_path / "d.parquet", [ANT]).sentences] == ["a", "b"]
    for texts in (["a", None], [1, 2]):
        pd.DataFrame({"name": ["ant", "ant"], "text": texts}).to_parquet(tmp_path / "d.parquet")
        with pytest.raises(UserError, match="column 'text' (has 1 nulls|holds int64)"):
            from_file(tmp_path / "d.parquet", [ANT])
    pd.DataFrame({"other": ["a"]}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(UserError, match="expected columns class_id"):
        from_file(tmp_path / "d.parquet", [ANT])


@pytest.mark.parametrize("content", ["{", '["a"]', '{"ant": "no list"}', '{"ant": [1]}'])
def test_a_file_of_another_form_is_named(tmp_path, content):
    (tmp_path / "d.json").write_text(content)
    with pytest.raises(UserError, match=r"d\.json") as caught:
        from_file(tmp_path / "d.json", [ANT])
    assert "\n" not in str(caught.value)


def test_sentences_are_normalised_deduplicated_and_in_class_order():
    answers = Answers(
        [
            Sentence("n2", "big  grey\nanimal", "x"),
            Sentence("n1", "small", "x"),
            Sentence("n2", "big grey animal", "y"),
            Sentence("n1", "   ", "x"),
        ]
    )
    columns = in_class_order(answers, [ANT, ELEPHANT])
    assert columns["class_id"] == ["n1", "n2"]
    assert columns["text"] == ["small", "big grey animal"]
    with pytest.raises(UserError, match="no description for 1 of 2 classes: n2"):
        in_class_order(Answers(answers.sentences[1:2]), [ANT, ELEPHANT])
    with pytest.raises(UserError, match="unknown class 'n2'"):
        in_class_order(answers, [ANT])


def test_the_bundled_file_covers_the_demo_and_plants_wrong_sentences(monkeypatch):
    monkeypatch.chdir(ROOT)
    classes = [ClassEntry(f"{c}-{s}", f"{c} {s}") for s in SHAPES for c in COLOURS]
    classes += [ClassEntry(letter.class_id, letter.name) for letter in letters()]
    answers = bundled.describe(classes, bundled.Params(), 0)
    planted = [s for s in answers.sentences if s.source == bundled.PLANTED]
    assert len(planted) == 3 * len(classes)
    assert len(answers.sentences) - len(planted) == 8 * len(classes)
    assert len({(s.class_id, s.text) for s in answers.sentences}) == len(answers.sentences)
    with pytest.raises(UserError, match="no descriptions for class 'n1'"):
        bundled.describe([ANT], bundled.Params(), 0)


def rows(texts: dict[str, list[str]]) -> list[dict]:
    return [
        {"class_id": c, "name": c, "text": t, "source": "s"} for c, ts in texts.items() for t in ts
    ]


def test_equal_scores_keep_their_order():
    assert ranking([0.5, 0.9, 0.5, 0.9, 0.5]) == [1, 3, 0, 2, 4]
    table = rank_sentences(rows({"a": list("pqr"), "b": list("xyz")}), [0.1] * 6, top_k=2)
    assert table["text"] == list("pqrxyz")
    assert table["kept"] == [True, True, False] * 2
    assert table["rank"] == [0, 1, 2] * 2


def test_the_best_k_are_kept_within_each_class():
    table = rank_sentences(rows({"a": list("pqr"), "b": list("xy")}), [1, 3, 2, 5, 9], top_k=1)
    assert table["text"] == ["q", "r", "p", "y", "x"]
    assert [t for t, kept in zip(table["text"], table["kept"], strict=True) if kept] == ["q", "y"]


def test_a_short_class_is_an_error_or_a_recorded_repeat():
    found = rows({"a": list("pqr"), "b": ["x"]})
    with pytest.raises(UserError, match=r"1 of 2 classes have fewer than filter.*= 3.*b \(1\)"):
        check_counts(found, FilterParams(top_k=3, short_class="error"))
    assert check_counts(found, FilterParams(top_k=3, short_class="repeat")) == ["b"]
    table = rank_sentences(found, [3, 2, 1, 5], top_k=3)
    assert table["text"][3:] == ["x", "x", "x"]
    assert table["source"][3:] == ["s", "s, repeated", "s, repeated"]
    assert table["kept"][3:] == [True] * 3


def fake_encode(texts: list[str]) -> np.ndarray:
    vectors = np.array([[len(t), t.count("a"), 1] for t in texts], dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_embeddings_round_trip_by_class_id_in_the_asked_order(tmp_path):
    table = rank_sentences(rows({"a": ["aa", "b"], "b": ["ccc", "da"]}), [2, 1, 2, 1], top_k=2)
    kept = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    columns, schema = embed.description_columns(kept, fake_encode)
    write_table(tmp_path / "e.parquet", columns, schema)
    first = (tmp_path / "e.parquet").read_bytes()
    write_table(tmp_path / "e.parquet", columns, schema)
    assert (tmp_path / "e.parquet").read_bytes() == first
    found = embed.read_embeddings(tmp_path / "e.parquet", ["b", "a"])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(
        found, np.stack([fake_encode(["ccc", "da"]), fake_encode(["aa", "b"])])
    )
    kind = pq.read_schema(tmp_path / "e.parquet").field("embedding").type
    assert kind == pa.list_(pa.float32(), 3)
    with pytest.raises(UserError, match="no embedding for class 'n9'"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a", "n9"])


def test_class_features_are_the_normalised_mean_over_templates(tmp_path):
    templates = ["a {}", "some {} there"]
    columns, schema = embed.class_columns([ANT], templates, fake_encode)
    write_table(tmp_path / "c.parquet", columns, schema)
    mean = fake_encode(["a ant", "some ant there"]).mean(0)
    found = embed.read_embeddings(tmp_path / "c.parquet", ["n1"])[0, 0]
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), rtol=1e-6)
    assert embed.read_templates(tmp_path / "c.parquet") == templates


def test_templates_fall_back_to_default_and_need_one_slot():
    params = embed.EmbedParams(templates={"default": ["a {}"], "x": ["the {}"]})
    assert embed.templates_of("x", params) == ["the {}"]
    assert embed.templates_of("y", params) == ["a {}"]
    for bad in ("no slot", "{} and {}"):
        with pytest.raises(UserError, match=r"key 'templates.x.0': .*exactly one \{\}"):
            validate({"templates": {"x": [bad]}}, embed.EmbedParams, "params.yaml: embed")
    with pytest.raises(UserError, match="neither 'y' nor 'default'"):
        embed.templates_of("y", embed.EmbedParams(templates={"x": ["a {}"]}))


def test_parquet_of_another_schema_is_refused(tmp_path):
    pd.DataFrame({"class_id": ["a"], "slot": [0]}).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(UserError, match=r"expected columns class_id:string, slot:int32.*found"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a"])
    (tmp_path / "e.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a"])

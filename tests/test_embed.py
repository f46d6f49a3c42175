"""Text embeddings on disk: identity by class id, templates, schema."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import embed
from pipeline.errors import UserError
from pipeline.images import ClassEntry
from pipeline.params import validate
from pipeline.tables import write_table

ANT = ClassEntry("n1", "ant")


def fake_encode(texts: list[str]) -> np.ndarray:
    vectors = np.array([[len(t), t.count("a"), 1] for t in texts], dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_embeddings_round_trip_by_class_id_in_the_asked_order(tmp_path):
    texts = {"a": ["aa", "b"], "b": ["ccc", "da"]}
    kept = [
        {"class_id": class_id, "sentence": text, "rank": rank}
        for class_id, own in texts.items()
        for rank, text in enumerate(own)
    ]
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

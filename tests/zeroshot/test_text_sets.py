"""Text embeddings on disk read as classifiers: identity by class id, features of a class."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.tables import write_table
from pipeline.embeddings.encoded import write_encoded
from pipeline.embeddings.templates import fill
from pipeline.images.classes import ClassEntry
from pipeline.zeroshot import text_sets as embed
from pipeline.zeroshot.text_tables import DESCRIPTIONS, TextTable
from tests.support.fake_text_features import fake_encode

ANT, BEE = ClassEntry("n1", "ant"), ClassEntry("n2", "bee")


def write_described(path: Path, texts: dict[str, list[str]]) -> None:
    """The descriptions of each class id, encoded."""
    ids = [class_id for class_id, sentences in texts.items() for _ in sentences]
    slots = [slot for sentences in texts.values() for slot in range(len(sentences))]
    flat = [sentence for sentences in texts.values() for sentence in sentences]
    write_encoded(path, TextTable(DESCRIPTIONS, [], ids, slots, flat), fake_encode)


def test_embeddings_are_read_by_class_id_in_the_asked_order(tmp_path):
    path = tmp_path / "e.parquet"
    write_described(path, {"a": ["aa", "b"], "b": ["ccc", "da"]})
    embeddings = embed.read_embeddings(path, ["b", "a"])
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(
        embeddings, np.stack([fake_encode(["ccc", "da"]), fake_encode(["aa", "b"])])
    )
    with pytest.raises(UserError, match="no embedding for class 'n9'"):
        embed.read_embeddings(path, ["a", "n9"])


def test_embeddings_that_name_no_text_set_are_no_classifier(tmp_path):
    columns = {"class_id": ["a"], "slot": [0], "text": ["x"], "embedding": [[1.0, 0.0]]}
    write_table(tmp_path / "e.parquet", columns, embed.schema(2))
    assert embed.read_embeddings(tmp_path / "e.parquet", ["a"]).tolist() == [[[1.0, 0.0]]]
    with pytest.raises(UserError, match="names no text set; run `dvc repro`"):
        embed.read_texts(tmp_path / "e.parquet", ["a"])


def test_a_templates_classifier_is_the_normalised_mean(tmp_path):
    templates = ["a {}", "some {} there, a big one"]
    write_encoded(tmp_path / "c.parquet", fill("t", [ANT, BEE], templates), fake_encode)
    text_set = embed.read_texts(tmp_path / "c.parquet", ["n2", "n1"])
    assert (text_set.name, text_set.templates) == ("t", templates)
    singles = [fake_encode([t.replace("{}", name) for t in templates]) for name in ("bee", "ant")]
    np.testing.assert_array_equal(text_set.captions, np.stack(singles))
    means = np.stack(singles).mean(1)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    assert lengths.max() < 1 - 1e-3, "or the plain mean would do as well"
    np.testing.assert_allclose(text_set.class_features, means / lengths, rtol=1e-6)
    assert (
        embed.read_class_features(tmp_path / "c.parquet", ["n2", "n1"]) == text_set.class_features
    ).all()


def test_a_descriptions_classifier_is_the_plain_mean(tmp_path):
    """Its logits are then the mean of the logits of the single descriptions."""
    texts = {"n1": ["an ant", "six legs has it"], "n3": ["x", "y"], "n2": ["b", "a b"]}
    write_described(tmp_path / "d.parquet", texts)
    text_set = embed.read_texts(tmp_path / "d.parquet", ["n2", "n1"])
    assert (text_set.name, text_set.templates) == (DESCRIPTIONS, [])
    assert text_set.captions.shape == (2, 2, 3)
    image = np.array([0.6, 0.0, 0.8], dtype=np.float32)
    single = text_set.captions @ image
    np.testing.assert_allclose(text_set.class_features @ image, single.mean(1), rtol=1e-6)
    assert (np.linalg.norm(text_set.class_features, axis=1) < 1).all()


def test_models_and_text_sets_have_folders_of_their_own():
    files = {
        path
        for model in ("base", "m")
        for texts in ("t", "u")
        for path in embed.pair_files(model, texts, "x")
    }
    assert len(files) == 8
    assert all(path.name == "x.parquet" for path in files)
    assert len({path.parent.parent for path in files}) == 4
    assert embed.folder_of("m", "t") in embed.pair_files("m", "t", "x")[0].parents


def test_parquet_of_another_schema_is_refused(tmp_path):
    pd.DataFrame({"class_id": ["a"], "slot": [0]}).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(UserError, match=r"expected columns class_id:string, slot:int32.*found"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a"])
    (tmp_path / "e.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        embed.read_embeddings(tmp_path / "e.parquet", ["a"])


def test_classes_with_different_numbers_of_texts_are_refused(tmp_path):
    columns = {"class_id": ["a", "b", "b"], "slot": [0, 0, 1], "text": ["x", "y", "z"]}
    vectors = {"embedding": [[1.0, 0.0]] * 3}
    write_table(tmp_path / "e.parquet", columns | vectors, embed.schema(2))
    message = r"e\.parquet: class_id 'b' has 2 rows, 'a' 1; run `dvc repro`"
    with pytest.raises(UserError, match=message):
        embed.read_embeddings(tmp_path / "e.parquet", ["a", "b"])
    with pytest.raises(UserError, match=r"f\.parquet: class_id 'b' has 2 rows, 'a' 1; nothing was"):
        write_described(tmp_path / "f.parquet", {"a": ["x"], "b": ["y", "z"]})
    assert not (tmp_path / "f.parquet").exists()


def test_texts_that_cancel_each_other_out_are_no_class(tmp_path):
    columns = {"class_id": ["a", "a", "b", "b"], "slot": [0, 1] * 2, "text": list("wxyz")}
    columns["embedding"] = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    table = TextTable(
        "template", ["a {}", "{}"], *(columns[k] for k in ("class_id", "slot", "text"))
    )
    path = tmp_path / "e.parquet"
    write_encoded(path, table, lambda _: np.array(columns["embedding"], dtype=np.float32))
    with pytest.raises(UserError, match="e.parquet: the texts of class 'b' cancel each other out"):
        embed.read_texts(path, ["a", "b"])


@pytest.mark.parametrize("factor", [np.nan, 0, 10])
def test_embeddings_without_unit_norm_are_not_written(tmp_path, factor):
    table = TextTable("template", ["{}"], ["a"], [0], ["x"])
    with pytest.raises(UserError, match=r"^e\.parquet: the feature of class 'a', text 'x',"):
        write_encoded(tmp_path / "e.parquet", table, lambda _: np.ones((1, 1), np.float32) * factor)
    assert not (tmp_path / "e.parquet").exists()

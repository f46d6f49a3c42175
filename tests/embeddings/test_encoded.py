"""Texts encoded into tables."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.embeddings.encoded import write_encoded, write_text_set
from pipeline.embeddings.templates import fill
from pipeline.images.classes import ClassEntry
from pipeline.zeroshot.text_sets import pair_files, read_pair, read_texts
from tests.support.fake_text_features import fake_encode

CLASSES = [ClassEntry("n1", "ant"), ClassEntry("n2", "bee")]


def test_a_table_keeps_its_columns_and_gets_a_vector_for_each_text(tmp_path):
    table = fill("t", CLASSES, ["a {}", "the {}"])
    path = tmp_path / "e.parquet"
    write_encoded(path, table, fake_encode)
    first = path.read_bytes()
    write_encoded(path, table, fake_encode)
    assert path.read_bytes() == first
    written = pq.read_table(path)
    assert written.drop_columns(["embedding"]).to_pydict() == table.columns
    assert written.schema.field("embedding").type == pa.list_(pa.float32(), 3)
    np.testing.assert_array_equal(
        np.array(written["embedding"].to_pylist(), dtype=np.float32), fake_encode(table.texts)
    )
    assert read_texts(path, ["n1"]).templates == ["a {}", "the {}"]


def test_a_text_set_is_written_for_every_image_set_and_for_the_attacker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifying = {name: fill("t", CLASSES, ["a {}"]) for name in ("x", "y")}
    seen = {name: fill("u", CLASSES, ["the {}", "one {}"]) for name in ("x", "y")}
    folder = pair_files("m", "t", "x")[0].parents[1]
    (folder / "texts").mkdir(parents=True)
    (folder / "texts/left.parquet").write_text("of an earlier run")
    write_text_set(folder, classifying, seen, fake_encode)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))
    assert files == [f"{part}/{name}.parquet" for part in ("attacker", "texts") for name in "xy"]
    texts, attacker = read_pair("m", "t", "y", ["n2", "n1"])
    assert (texts.name, attacker.name) == ("t", "u")
    np.testing.assert_array_equal(texts.captions[:, 0], fake_encode(["a bee", "a ant"]))
    np.testing.assert_array_equal(attacker.captions[0], fake_encode(["the bee", "one bee"]))


def test_a_failing_encoder_leaves_what_was_there(tmp_path):
    table, folder = fill("t", CLASSES, ["a {}"]), tmp_path / "t"
    write_text_set(folder, {"x": table}, {"x": table}, fake_encode)
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}

    def encode(texts: list[str]) -> np.ndarray:
        raise MemoryError

    with pytest.raises(MemoryError):
        write_text_set(folder, {"x": table}, {"x": table}, encode)
    assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before
    assert list(tmp_path.iterdir()) == [folder]

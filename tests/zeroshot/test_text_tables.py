"""Texts of classes as strings on disk."""

import pytest

from pipeline.common.errors import UserError
from pipeline.common.tables import write_table
from pipeline.zeroshot.text_tables import (
    DESCRIPTIONS,
    KEPT,
    SCHEMA,
    TextTable,
    file_of,
    kept_descriptions,
    read_table_of,
    texts_of,
    write_texts,
)

TABLE = TextTable(
    "t", ["a {}", "the {}"], ["n1", "n1", "n2", "n2"], [0, 1, 0, 1], ["a ant", "the ant", "b", "c"]
)


def row(class_id: str, rank: int | None, text: str) -> dict[str, object]:
    return {"class_id": class_id, "rank": rank, "sentence": text, "kept": rank is not None}


@pytest.fixture
def kept(tmp_path, monkeypatch) -> None:
    """Two kept descriptions of n1 and of n2."""
    monkeypatch.chdir(tmp_path)
    rows = [row("n1", 0, "six legs"), row("n1", None, "no"), row("n1", 1, "x"), row("n2", 0, "y")]
    rows.append(row("n2", 1, "z"))
    write_texts(KEPT, kept_descriptions(rows))


def test_a_table_comes_back_as_it_was_and_the_same_bytes_are_written_twice(tmp_path):
    path = tmp_path / "t.parquet"
    write_texts(path, TABLE)
    first = path.read_bytes()
    assert read_table_of(path) == TABLE
    write_texts(path, TABLE)
    assert path.read_bytes() == first


def test_a_table_without_a_text_set_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, TABLE.columns, SCHEMA)
    with pytest.raises(UserError, match="names no text set; run `dvc repro`"):
        read_table_of(path)
    with pytest.raises(UserError, match=r"u\.parquet: not found"):
        read_table_of(tmp_path / "u.parquet")


@pytest.mark.usefixtures("kept")
def test_the_kept_descriptions_are_slots_by_rank_of_one_file_for_all_sets():
    assert file_of(DESCRIPTIONS, "x") == file_of(DESCRIPTIONS, "y") == KEPT
    table = read_table_of(KEPT)
    assert (table.name, table.templates) == (DESCRIPTIONS, [])
    assert table.class_ids == ["n1", "n1", "n2", "n2"]
    assert table.slots == [0, 1, 0, 1]
    assert table.texts == ["six legs", "x", "y", "z"]


@pytest.mark.usefixtures("kept")
def test_the_descriptions_of_a_set_are_those_of_its_classes():
    assert texts_of(DESCRIPTIONS, "x", ["n2"]).texts == ["y", "z"]
    assert texts_of(DESCRIPTIONS, "x", ["n2", "n1"]).texts == ["six legs", "x", "y", "z"]


@pytest.mark.usefixtures("kept")
def test_a_class_without_description_is_named_with_its_set():
    message = (
        r"class 'n9' of set 'zoo' has no description \(1 of 2 have none\); take 'descriptions'"
    )
    with pytest.raises(UserError, match=message):
        texts_of(DESCRIPTIONS, "zoo", ["n1", "n9"])


def test_a_set_of_templates_has_a_file_for_each_image_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_texts(file_of("t", "x"), TABLE)
    assert texts_of("t", "x", ["n1", "n2"]) == TABLE
    with pytest.raises(UserError, match=r"data/texts/t/y\.parquet: not found"):
        texts_of("t", "y", ["n1"])

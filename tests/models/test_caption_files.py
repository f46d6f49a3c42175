"""Caption files keyed by class id or exact name."""

import json
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.images.classes import ClassEntry
from pipeline.models.caption_files import captions_by_class, read_sentences

ANT, ELEPHANT = ClassEntry("n1", "ant"), ClassEntry("n2", "african elephant")
CRANES = [ClassEntry("n3", "crane"), ClassEntry("n4", "crane")]
FILE = Path("captions.json")


def test_ids_win_over_names_and_substrings_never_match():
    sentences_of = {"ant": ["small"], "n2": ["grey"], "elephant": ["wrong"]}
    assert captions_by_class([ANT, ELEPHANT], sentences_of, FILE) == [["small"], ["grey"]]
    assert captions_by_class([ANT, ELEPHANT], {"Ant": ["capital"], "n2": []}, FILE) == [[], []]


def test_a_name_shared_by_two_ids_is_refused_until_keyed_by_id():
    with pytest.raises(UserError, match="several classes are named 'crane'; key them by id"):
        captions_by_class(CRANES, {"crane": ["a bird"]}, FILE)
    assert captions_by_class(CRANES, {"n3": ["a"], "n4": [], "crane": ["b"]}, FILE) == [["a"], []]


def test_parquet_is_read_by_id_or_name(tmp_path):
    path = tmp_path / "d.parquet"
    for key, value in (("class_id", "n1"), ("name", "ant")):
        pd.DataFrame({key: [value, value], "text": ["a", "b"]}).to_parquet(path)
        assert read_sentences(path) == {value: ["a", "b"]}
    for texts in (["a", None], [1, 2]):
        pd.DataFrame({"name": ["ant", "ant"], "text": texts}).to_parquet(path)
        with pytest.raises(UserError, match="column 'text' (has 1 nulls|holds int64)"):
            read_sentences(path)
    pd.DataFrame({"other": ["a"]}).to_parquet(path)
    with pytest.raises(UserError, match="expected columns class_id"):
        read_sentences(path)
    path.write_text("no parquet")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_sentences(path)


@pytest.mark.parametrize("content", ["{", '["a"]', '{"ant": 1}', '{"ant": [1]}'])
def test_a_file_of_another_form_is_named(tmp_path, content):
    (tmp_path / "d.json").write_text(content)
    with pytest.raises(UserError, match=r"d\.json") as caught:
        read_sentences(tmp_path / "d.json")
    assert "\n" not in str(caught.value)
    for texts in (["a"], "a"):
        (tmp_path / "d.json").write_text(json.dumps({"ant": texts}), encoding="utf-8-sig")
        assert read_sentences(tmp_path / "d.json") == {"ant": ["a"]}


def test_keys_are_compared_without_what_nobody_sees():
    cafe, bear = ClassEntry("café", "coffee house"), ClassEntry("n1", "polar bear")
    decomposed = unicodedata.normalize("NFD", "café")
    sentences_of = {decomposed: ["warm"], "polar\u00a0bear ": ["white"]}
    assert captions_by_class([cafe, bear], sentences_of, FILE) == [["warm"], ["white"]]
    with pytest.raises(UserError, match="key 'café' stands there in two forms; keep one"):
        captions_by_class([cafe], {"café": ["a"], decomposed: ["b"]}, FILE)

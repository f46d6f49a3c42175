"""Texts and tables that are small and stand for more than any memory holds: each through the real
reader, in bounded memory and time, ends in one line."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clip.config import read_config
from pipeline.common.params import read_params
from pipeline.common.tables import read_json, read_table
from pipeline.descriptions.messages import parse_answer
from pipeline.descriptions.published_file import read_published
from pipeline.images.classes import CLASS_SCHEMA
from pipeline.models import state_dicts
from pipeline.models.caption_files import read_sentences
from tests.faults.contained import contained, sampled

DEEP = 100_000


JSONS = {
    "lists": "[" * DEEP,
    "objects": '{"a":' * DEEP,
    "digits": "[" + "9" * 5000 + "]",
    "text": '"',
    "null": "\0" * 100,
}


@pytest.mark.parametrize("name", JSONS)
def test_json_without_end(tmp_path, name):
    file = tmp_path / "open_clip_config.json"
    file.write_text(JSONS[name])
    for reader in (read_json, read_published, read_sentences):
        assert contained(lambda reader=reader: reader(file)).startswith(f"{file}: ")
    assert str(file) in contained(lambda: read_config(tmp_path))
    index = tmp_path / "model.index.json"
    index.write_text(JSONS[name])
    assert contained(lambda: state_dicts.read(index)).startswith(f"{index}: ")


def laughs(levels: int, merged: bool) -> str:
    """Lists of ten times the list above, or keys merged so."""
    lines = ["a0: &a0 {x: 1}" if merged else "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        ten = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{ten}]}}" if merged else f"[{ten}]"))
    return "\n".join(lines)


YAMLS = {
    "aliases": laughs(12, merged=False),
    "merged": laughs(12, merged=True),
    "itself": "a: &a [*a]",
    "its own key": "a: &a\n  b: *a",
    "deep": "a: " + "[" * 5000,
    "not so deep": "a: " + "[" * 50 + "]" * 50,
    "digits": "a: " + "9" * 5000,
    "hexadecimal": "a: 0x" + "f" * 5000,
    "date": "a: 2020-13-45",
    "code": "a: !!python/object/apply:os.system [touch UNPICKLED]",
    "half a character": 'a: "\\ud800"',
    "half a character in a key": '"\\ud800": 1',
    "null": 'a: "\\0"',
    "long": "a: " + "x" * 10_001,
}


@pytest.mark.parametrize("name", sampled(YAMLS, "deep"))
def test_yaml_that_stands_for_more_than_it_says(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "params.yaml"
    file.write_text(YAMLS[name])
    assert contained(lambda: read_params(file)).startswith(f"{file}: ")
    assert not Path("UNPICKLED").exists()


def test_yaml_of_a_size_that_no_parameters_have(tmp_path):
    file = tmp_path / "params.yaml"
    with file.open("wb") as stream:
        stream.truncate(2**34)
    assert contained(lambda: read_params(file)).startswith(f"{file}: {2**34} bytes")


@pytest.mark.campaign
def test_a_table_of_300_million_rows_in_two_megabytes(tmp_path):
    file = tmp_path / "classes.parquet"
    zeros = pa.array(np.zeros(30_000_000, np.int32))
    part = pa.DictionaryArray.from_arrays(zeros, pa.array(["x"]))
    schema = pa.schema([("class_id", part.type)])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(pa.table([part], schema=schema))
    assert file.stat().st_size < 2**21
    line = contained(lambda: read_table(file, CLASS_SCHEMA))
    assert line == "out of memory" or line.startswith(f"{file}: ")


ANSWERS = {
    "brackets": "[" * DEEP,
    "braces": '{"a":' * 20_000,
    "quotes": '"' * DEEP,
    "escapes": '["' + "\\" * DEEP,
    "thoughts": "<think>" * 20_000,
    "thoughts that end": "<think>x</think>" * 5_000,
    "fences": "```json\n" * 15_000,
    "numbers": "1. " * 30_000,
    "lines": "\n" * DEEP,
    "blanks": " " * DEEP + "x",
    "stars": "*" * DEEP,
    "commas": "a, " * 30_000,
    "dots": "a." * 40_000,
    "one word": "a" * DEEP,
    "one word that ends": "a" * DEEP + ". A b c.",
    "short sentences": "A b. " * 20_000,
    "quoted": '"A b." ' * 15_000,
    "brackets in text": "x [" * 30_000,
    "list": "- a\n" * 25_000,
    "hash": "#" * DEEP,
    "opened tags": "<" * DEEP,
    "ends": "</think>" * 10_000,
    "surrogates": "\ud800" * 10_000,
    "cut": json.dumps([f"The cat has {number} eyes." for number in range(3000)])[:-5],
    "colons": "a: " * 30_000,
}


@pytest.mark.campaign
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_hostile_to_regular_expressions(name):
    assert contained(lambda: parse_answer(ANSWERS[name])) == ""

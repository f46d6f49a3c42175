"""The describe stage through the real vLLM engine and through its server, on a CPU.

Run by tests/integration/vllm_cpu.sh, which builds the environment; skipped elsewhere. The
models are tiny and random (tiny_models.py), everything else is real.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

if "SAFT_REAL_VLLM" not in os.environ:
    pytest.skip("needs vLLM: run `make test-vllm`", allow_module_level=True)

from pipeline.common.tables import write_table
from pipeline.descriptions import exemplars
from pipeline.descriptions.artifact import SCHEMA
from pipeline.images.classes import ClassEntry
from tests.integration.runs import (
    answers_kept,
    artifact,
    describe,
    error_line,
    kill_when_some_answers_are_kept,
    provenance,
    serving,
    write_inputs,
    write_params,
)
from tests.integration.tiny_models import build_text_model, build_vision_model

CLASSES = {"n01": "tench", "n02": "hourglass", "n03": "unicycle", "n04": "European polecat"}
SAMPLING = {"answers": 2, "sentences": 2, "max_tokens": 400, "retries": 6, "temperature": 1.0}
ENGINE = {"revision": "main", "dtype": "float32", "max_model_len": 1024, "enforce_eager": True}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_text_model(folder / "text")
    build_vision_model(folder / "vision")
    return folder


@pytest.fixture
def project(tmp_path: Path, models: Path) -> Path:
    """What the describe stage reads, with the text model chosen."""
    write_inputs(tmp_path, CLASSES)
    set_params(tmp_path, "vllm", model=str(models / "text"), **ENGINE)
    return tmp_path


def set_params(folder: Path, backend: str, section: dict[str, Any] | None = None, **options: Any):
    write_params(folder, backend, section, **SAMPLING | options)


def test_the_stage_writes_the_artifact_and_repeats_it_byte_for_byte(project: Path) -> None:
    start = time.perf_counter()
    output = describe(project)
    wall = time.perf_counter() - start
    first, made = artifact(project), provenance(project)
    table = pq.read_table(project / "data/descriptions/descriptions.parquet")
    assert table.schema == SCHEMA
    rows = table.to_pylist()
    assert list(dict.fromkeys(row["class_id"] for row in rows)) == list(CLASSES)
    assert {row["prompt_id"] for row in rows} == {"distinguishing", "appearance"}
    assert {row["sample_index"] for row in rows} <= {0, 1, 2, 3}
    assert all(row["source"] == "vllm" and row["tokens"] > 2 for row in rows)
    assert made["counts"]["answers"] == len(CLASSES) * 2 * 2
    assert made["counts"]["unreadable"] == 0, "structured output was not honoured"
    assert made["counts"]["lost"] == 0
    whole = made["counts"]["answers"] * SAMPLING["sentences"]
    assert whole * 0.9 < len(rows) <= whole, "only blank sentences are missing"
    assert made["counts"]["completion_tokens"] > made["counts"]["answers"]
    assert (made["vllm"], made["device"]) == ("0.32.0", "cpu")
    assert "tokens/s" in output
    assert not list(project.glob(".scratch/*/answers.jsonl"))
    describe(project)
    assert artifact(project) == first
    seconds = made["generation_seconds"]
    print(f"\n{len(rows)} sentences: {seconds} s generating, {wall:.0f} s in all")


def test_time_per_thousand_sentences(project: Path, models: Path) -> None:
    set_params(project, "vllm", model=str(models / "text"), **ENGINE | {"answers": 63})
    describe(project)
    made = provenance(project)
    count = made["sentences"]
    assert count >= 1000
    seconds = 1000 * made["generation_seconds"] / count
    print(f"\n{count} sentences: {seconds:.1f} s per 1,000, {made['counts']}")


def test_a_killed_run_continues_and_ends_with_the_same_file(project: Path, models: Path) -> None:
    many = {"model": str(models / "text"), "answers": 40} | ENGINE
    set_params(project, "vllm", **many | {"answers": 40})
    describe(project)
    expected, asked = artifact(project), provenance(project)["counts"]
    kept = kill_when_some_answers_are_kept(project, at_least=10)
    assert kept < asked["answers"], "killed too late to show anything"
    describe(project)
    counts = provenance(project)["counts"]
    assert counts["from_earlier_run"] >= kept - 1, "all but a torn last line"
    assert artifact(project) == expected
    assert counts["completion_tokens"] == asked["completion_tokens"]


def test_another_seed_gives_other_sentences(project: Path, models: Path) -> None:
    describe(project)
    first = pq.read_table(project / "data/descriptions/descriptions.parquet")["sentence"]
    set_params(project, "vllm", {"seed": 1}, model=str(models / "text"), **ENGINE)
    describe(project)
    second = pq.read_table(project / "data/descriptions/descriptions.parquet")["sentence"]
    # a sentence of one or two characters can come twice, by chance
    shared = {text for text in first.to_pylist() if len(text) > 5} & set(second.to_pylist())
    assert not shared
    assert len(set(first.to_pylist())) > len(first) // 2


def write_exemplars(folder: Path, colours: dict[str, int]) -> None:
    """Two plain pictures of 32 x 32 per class."""
    pixels = np.zeros((2 * len(CLASSES), 3, 32, 32), dtype=np.uint8)
    for label, class_id in enumerate(CLASSES):
        pixels[2 * label : 2 * label + 2, label % 3] = colours.get(class_id, 200)
    chosen = [[(2 * label, 0.9), (2 * label + 1, 0.8)] for label in range(len(CLASSES))]
    entries = [ClassEntry(class_id, name) for class_id, name in CLASSES.items()]
    columns = exemplars.to_columns(entries, chosen, pixels)
    write_table(folder / "data/exemplars/nearest.parquet", columns, exemplars.SCHEMA)


def test_a_vision_language_model_sees_the_exemplars(project: Path, models: Path) -> None:
    section = {"exemplars": "nearest"}
    set_params(project, "vllm", section, model=str(models / "vision"), **ENGINE)
    write_exemplars(project, {})
    describe(project)
    first = sentences_by_class(project)
    made = provenance(project)
    assert made["exemplars_per_class"] == 2
    assert made["counts"]["prompt_tokens"] >= made["counts"]["answers"] * 2 * 16
    # only the pictures of one class change: only its sentences do
    write_exemplars(project, {"n02": 90})
    describe(project)
    second = sentences_by_class(project)
    assert {c for c in CLASSES if first[c] != second[c]} == {"n02"}


def sentences_by_class(folder: Path) -> dict[str, list[str]]:
    rows = pq.read_table(folder / "data/descriptions/descriptions.parquet").to_pylist()
    return {c: [row["sentence"] for row in rows if row["class_id"] == c] for c in CLASSES}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "/nowhere/model"}, "there is no such folder"),
        ({"model": "maker/model"}, "vLLM cannot start maker/model at revision main"),
        ({"max_model_len": 100_000}, "vLLM cannot start"),
    ],
)
def test_what_the_engine_refuses_is_one_line(
    project: Path, models: Path, changes: dict[str, Any], message: str
) -> None:
    set_params(project, "vllm", **{"model": str(models / "text")} | ENGINE | changes)
    assert message in error_line(describe(project, status=1))
    assert not (project / "data/descriptions").exists()


def test_images_for_a_model_that_reads_none_are_one_line(project: Path, models: Path) -> None:
    set_params(project, "vllm", {"exemplars": "nearest"}, model=str(models / "text"), **ENGINE)
    write_exemplars(project, {})
    assert "multimodal" in error_line(describe(project, status=1))


def test_answers_cut_off_for_good_name_the_classes(project: Path, models: Path) -> None:
    cut = {"model": str(models / "text"), "max_tokens": 16, "retries": 1, "sentences": 9}
    set_params(project, "vllm", **ENGINE | cut)
    line = error_line(describe(project, status=1))
    assert "no sentence" in line
    assert answers_kept(project) == 0, "what cannot be read is worth nothing"


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of vLLM's own OpenAI-compatible server."""
    folder = tmp_path_factory.mktemp("server")
    with serving(str(models / "vision"), "tiny", folder, "--dtype", "float32") as url:
        yield url


def test_the_openai_backend_through_the_real_server(project: Path, server: str) -> None:
    # without the bounds a random model may write '["", "\t"]', which holds no sentence
    bounded = {"response_format": "json_schema_bounded", "concurrency": 8, "answers": 20}
    set_params(project, "openai", base_url=server, model="tiny", **bounded)
    describe(project)
    expected, counts = artifact(project), provenance(project)["counts"]
    rows = pq.read_table(project / "data/descriptions/descriptions.parquet").to_pylist()
    assert {row["source"] for row in rows} == {"openai"}
    assert counts["unreadable"] == 0, "the schema was not honoured"
    whole = (counts["answers"] - counts["lost"]) * SAMPLING["sentences"]
    assert whole * 0.95 < len(rows) <= whole, "only blank sentences are missing"
    kept = kill_when_some_answers_are_kept(project, at_least=10)
    assert kept < counts["answers"]
    describe(project)
    assert provenance(project)["counts"]["from_earlier_run"] >= kept - 1
    assert artifact(project) == expected


def test_the_server_shows_the_model_the_exemplars(project: Path, server: str) -> None:
    section = {"exemplars": "nearest"}
    set_params(project, "openai", section, base_url=server, model="tiny", concurrency=4)
    write_exemplars(project, {})
    describe(project)
    first = sentences_by_class(project)
    write_exemplars(project, {"n03": 90})
    describe(project)
    second = sentences_by_class(project)
    assert {c for c in CLASSES if first[c] != second[c]} == {"n03"}


def test_what_the_server_refuses_is_one_line(project: Path, server: str) -> None:
    set_params(project, "openai", base_url=server, model="other")
    line = error_line(describe(project, status=1))
    assert "model other" in line
    assert "does not exist" in line

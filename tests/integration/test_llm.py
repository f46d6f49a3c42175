"""The describe stage with a real chat model, through the vLLM engine and its server on a CPU.

Run by `make test-llm MODEL=<folder or hub id>`; skipped elsewhere. Any small chat model serves:
nothing here depends on how well it writes, but that it takes the class's meaning from the question.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

if "SAFT_LLM" not in os.environ:
    pytest.skip(
        "needs a chat model: run `make test-llm MODEL=<folder or hub id>`", allow_module_level=True
    )

from pipeline.common.params import read_params, validate
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.artifact import SCHEMA
from pipeline.descriptions.messages import parse_reply
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.cleaning import CleaningParams, clean
from pipeline.prepare.wnids import all_wnids, class_entries
from tests.integration.runs import (
    artifact,
    describe,
    kill_when_some_answers_are_kept,
    provenance,
    serving,
    write_inputs,
    write_params,
)
from tests.support.project import DEMO, ROOT

MODEL = os.environ["SAFT_LLM"]
# names that mean several things; a model that is not told which describes a king
CLASSES = {"n02279972": "monarch", "n02814860": "beacon", "n02231487": "walking stick"}
PROMPTS = ("distinguishing", "appearance")
SENTENCES, WITHIN = 2, 3600  # seconds after which a run counts as stuck
SAMPLING = {"answers": 1, "sentences": SENTENCES, "max_tokens": 200, "retries": 3, "top_p": 1.0}
ENGINE = {"model": MODEL, "max_model_len": 1024, "dtype": "bfloat16"}
FIGURES = ROOT / ".scratch/test-llm.json"
CONTEXT = 77  # tokens of OpenAI's CLIP
EVERY = 50  # of the 1,000 wnids, for the run that is long enough for figures


class Run:
    """A folder in which the stage was run to its end, and what it left."""

    def __init__(self, folder: Path) -> None:
        start = time.perf_counter()
        self.output = describe(folder, timeout=WITHIN)
        self.wall_s = time.perf_counter() - start
        self.folder = folder
        self.artifact, self.provenance = artifact(folder), provenance(folder)
        self.counts = self.provenance["counts"]
        self.rows = pq.read_table(folder / "data/descriptions/descriptions.parquet").to_pylist()

    def figures(self) -> dict[str, Any]:
        """Of one uninterrupted run: seconds and tokens per 1,000 sentences, with the retries'."""
        generating, count = self.provenance["generation_seconds"], len(self.rows)
        return {
            "sentences": count,
            "seconds_before_the_questions": round(self.wall_s - generating, 1),
            "seconds_generating": generating,
            "seconds_per_1000_sentences": round(1000 * generating / count, 1),
            "completion_tokens_per_1000_sentences": round(
                1000 * self.counts["completion_tokens"] / count
            ),
            "counts": self.counts,
            "dropped_by_reason": self.dropped(),
        }

    def dropped(self) -> dict[str, int]:
        """Sentences by the reason for which cleaning, as the demo sets it, drops them."""
        params = validate(read_params(DEMO)["filter"]["cleaning"], CleaningParams, str(DEMO))
        texts_of: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            texts_of.setdefault((row["class_id"], row["class_name"]), []).append(row["sentence"])
        reasons = Counter(
            cleaned.reason or "kept"
            for (_, name), texts in texts_of.items()
            for cleaned in clean(texts, params, CONTEXT, count_tokens, name)
        )
        return dict(sorted(reasons.items()))


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[dict[str, Any]]:
    """What the runs add is printed at the end, and left as a file."""
    collected: dict[str, Any] = {"classes": len(CLASSES), "threads": os.cpu_count()}
    yield collected
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(collected, indent=2) + "\n")
    print(f"\n{json.dumps(collected)}")


@pytest.fixture(scope="module")
def engine_run(tmp_path_factory: pytest.TempPathFactory, figures: dict[str, Any]) -> Run:
    folder = tmp_path_factory.mktemp("engine")
    write_inputs(folder, CLASSES)
    write_params(folder, "vllm", **SAMPLING | ENGINE)
    run = Run(folder)
    figures["model"] = run.provenance["model"]
    figures["engine"] = run.figures()
    return run


@pytest.fixture(scope="module")
def server_run(tmp_path_factory: pytest.TempPathFactory, figures: dict[str, Any]) -> Iterator[Run]:
    """The server runs as long as the tests that ask for this."""
    log = tmp_path_factory.mktemp("server")
    with serving(MODEL, "some-llm", log, "--dtype", "bfloat16") as url:
        folder = tmp_path_factory.mktemp("through-server")
        write_inputs(folder, CLASSES)
        write_params(folder, "openai", base_url=url, model="some-llm", timeout_s=WITHIN, **SAMPLING)
        run = Run(folder)
        figures["server"] = run.figures()
        yield run


def check_complete(run: Run) -> None:
    """Every class and question has sentences, and JSON was honoured."""
    table = pq.read_table(run.folder / "data/descriptions/descriptions.parquet")
    assert table.schema == SCHEMA
    assert run.counts["answers"] == len(CLASSES) * len(PROMPTS)
    assert run.counts["unreadable"] == 0, "structured output was not honoured"
    assert run.counts["lost"] == 0
    described = {(row["class_id"], row["prompt_id"]) for row in run.rows}
    assert described == {(class_id, prompt) for class_id in CLASSES for prompt in PROMPTS}
    assert len(run.rows) <= len(described) * SENTENCES
    assert run.provenance["classes_with_gloss"] == len(CLASSES)
    assert not list(run.folder.glob(".scratch/*/answers.jsonl"))


def check_resumed(run: Run) -> None:
    """After a kill -9 no finished answer is asked again; in bfloat16 the others may differ."""
    kept = kill_when_some_answers_are_kept(run.folder, at_least=1, within=WITHIN)
    assert 0 < kept < run.counts["answers"], "killed too late to show anything"
    [log] = run.folder.glob(".scratch/*/answers.jsonl")
    replies = [Reply(*json.loads(line)[1:]) for line in log.read_text().splitlines()[:kept]]
    again = Run(run.folder)
    assert again.counts["from_earlier_run"] >= kept - 1, "all but a torn last line"
    sentences = {row["sentence"] for row in again.rows}
    whole = [texts for texts in map(parse_reply, replies) if len(texts) >= SENTENCES]
    assert all(sentences.issuperset(texts[:SENTENCES]) for texts in whole)
    check_complete(again)


def test_the_engine_answers_every_question_in_json(engine_run: Run) -> None:
    check_complete(engine_run)
    assert {row["source"] for row in engine_run.rows} == {"vllm"}
    assert engine_run.provenance["device"] == "cpu"
    if Path(MODEL).is_dir():
        assert engine_run.provenance["model"] == Path(MODEL).name
        assert any(name.endswith("config.json") for name in engine_run.provenance["model_files"])


def test_requests_are_shown_before_the_first_answer_and_the_engine_is_quiet(
    engine_run: Run,
) -> None:
    questions = len(CLASSES) * len(PROMPTS)
    output = engine_run.output
    assert f"0 running, {questions} waiting" in output
    assert output.index("vLLM loads") < output.index(f"0 running, {questions} waiting")
    assert not re.search(r"INFO \d\d-\d\d \d\d:", output), "the engine's log"


def test_the_question_says_which_meaning(engine_run: Run) -> None:
    about = " ".join(r["sentence"] for r in engine_run.rows if r["class_id"] == "n02279972")
    assert re.search(r"butterfl|wing", about), about


def test_a_longer_run_for_figures(
    tmp_path_factory: pytest.TempPathFactory, figures: dict[str, Any]
) -> None:
    """Two questions of five sentences about 20 classes of ImageNet."""
    folder = tmp_path_factory.mktemp("longer")
    classes = class_entries(all_wnids()[::EVERY], "wordnet", Path("ImageNet"))
    write_inputs(folder, {entry.class_id: entry.name for entry in classes})
    longer = {"sentences": 5, "max_tokens": 400}
    write_params(folder, "vllm", **SAMPLING | ENGINE | longer)
    run = Run(folder)
    figures["longer"] = {"classes": len(classes), **run.figures()}
    assert run.counts["answers"] == len(classes) * len(PROMPTS)
    assert run.counts["unreadable"] == run.counts["lost"] == 0
    described = {(row["class_id"], row["prompt_id"]) for row in run.rows}
    assert len(described) == run.counts["answers"]
    missing = run.counts["answers"] * longer["sentences"] - len(run.rows)
    assert run.counts["missing_sentences"] == missing
    assert sum(run.dropped().values()) == len(run.rows)


def test_an_uninterrupted_run_repeats_its_bytes(engine_run: Run) -> None:
    assert Run(engine_run.folder).artifact == engine_run.artifact


def test_a_killed_run_of_the_engine_keeps_its_answers(engine_run: Run) -> None:
    check_resumed(engine_run)


def test_the_server_answers_every_question_in_json(server_run: Run) -> None:
    check_complete(server_run)
    assert {row["source"] for row in server_run.rows} == {"openai"}


def test_a_killed_run_through_the_server_keeps_its_answers(server_run: Run) -> None:
    check_resumed(server_run)

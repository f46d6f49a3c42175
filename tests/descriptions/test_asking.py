"""Questions, seeds, retries and the log of answers, against a model made of Python."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from pipeline.backends import vllm
from pipeline.common.errors import UserError
from pipeline.descriptions import session
from pipeline.descriptions.answer_log import AnswerLog, Reply, request_key
from pipeline.descriptions.artifact import classes_without_sentence
from pipeline.descriptions.asking import (
    collect_answers,
    generation_provenance,
)
from pipeline.descriptions.completeness import COUNTED, NAMED
from pipeline.descriptions.exemplars import Exemplar
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Answers
from pipeline.descriptions.messages import (
    Query,
    answer_schema,
    message_content,
    parse_answer,
    request_seed,
)
from pipeline.descriptions.params import DescribeParams
from pipeline.images.classes import ClassEntry
from tests.support.python_model import Model, good, run, said, task
from tests.support.tasks import CLASSES, OPTIONS, PROMPTS, ROOT


def test_everything_is_asked_at_once_and_comes_back_in_order(tmp_path):
    model = Model()
    sentences, statistics = run(tmp_path, model)
    [queries] = model.batches
    assert len(queries) == 3 * 5 * 2
    assert queries[0].text.startswith("Describe what an apple looks like\n")
    assert "an Ostrich" in queries[10].text
    assert "a crane {x}" in queries[20].text
    assert [s.class_id for s in sentences] == ["c0"] * 30 + ["c1"] * 30 + ["c2"] * 30
    first = sentences[:6]
    assert {(s.prompt_set, s.prompt_id, s.source) for s in first} == {
        ("cupl", "looks_like", "test")
    }
    assert [s.sample_index for s in first] == [0, 1, 2, 3, 4, 5]
    counts = dict.fromkeys(COUNTED, 0) | {"answers": 30}
    assert statistics["counts"] == counts | {"prompt_tokens": 300, "completion_tokens": 150}


def seeds(model: Model) -> dict[tuple[str, str, int], int]:
    return {(q.class_id, q.prompt_id, q.answer): q.seed for q in model.batches[0]}


def test_a_seed_depends_on_what_is_asked_not_on_its_place(tmp_path):
    all_of_them, some, other = Model(), Model(), Model()
    run(tmp_path / "a", all_of_them)
    run(tmp_path / "b", some, classes=CLASSES[1:2], options={"answers": 1})
    run(tmp_path / "c", other, seed=1)
    assert seeds(some).items() <= seeds(all_of_them).items()
    assert len(set(seeds(all_of_them).values())) == 30
    assert not set(seeds(other).values()) & set(seeds(all_of_them).values())
    # A value written down: Python's own hash() would differ from process to process.
    assert request_seed("c0", "looks_like", 0, 0, 0) == 1935160480
    assert all(0 <= seed < 2**31 for seed in seeds(all_of_them).values())


def test_unreadable_answers_are_asked_again_with_another_seed(tmp_path, capsys):
    def says(query: Query) -> Reply:
        if query.class_id == "c0" and query.prompt_id == "identify" and query.attempt == 0:
            return Reply('{"sentences": ["An apple is', False, 1, 1)
        if query.class_id == "c1" and query.prompt_id == "caption" and query.answer == 0:
            return good(query) if query.attempt == 2 else Reply('{"not": "it"}', True, 1, 1)
        return good(query)

    model = Model(says)
    sentences, statistics = run(tmp_path, model)
    assert [len(batch) for batch in model.batches] == [30, 3, 1]
    first = seeds(model)
    for query in model.batches[1] + model.batches[2]:
        assert query.seed != first[query.class_id, query.prompt_id, query.answer]
    counts = statistics["counts"]
    assert (counts["truncated"], counts["unreadable"], counts["lost"]) == (2, 2, 0)
    assert len(sentences) == 90, "every answer was got in the end"
    assert [s.sample_index for s in sentences if s.prompt_id == "identify"][:6] == list(range(6))
    assert "'truncated': 2" in capsys.readouterr().err


def test_answers_lost_for_good_are_counted(tmp_path):
    def says(query: Query) -> Reply:
        return Reply('["  "]', True, 1, 1) if query.class_id == "c1" else good(query)

    sentences, statistics = run(tmp_path, Model(says), options={"retries": 1})
    assert (statistics["counts"]["unreadable"], statistics["counts"]["lost"]) == (20, 10)
    assert {s.class_id for s in sentences} == {"c0", "c2"}


def test_fewer_usable_sentences_than_asked_for_are_asked_again(tmp_path, capsys):
    def says(query: Query) -> Reply:
        if query.class_id == "c0" and query.attempt == 0:
            return said("A dam is a wall.", "", " ", "} {")
        return good(query)

    model = Model(says)
    sentences, statistics = run(tmp_path, model)
    assert [len(batch) for batch in model.batches] == [30, 10]
    assert len(sentences) == 90
    counts = statistics["counts"]
    assert (counts["short"], counts["unreadable"], counts["missing_sentences"]) == (10, 0, 0)
    assert "missing_by_class" not in statistics
    assert "'short': 10" in capsys.readouterr().err


def test_the_best_attempt_is_kept_and_what_it_lacks_is_counted(tmp_path):
    attempts = [
        said("It is red."),
        said("It is grey.", "It is big."),
        said("It is low.", "It ran."),
    ]

    def says(query: Query) -> Reply:
        first = (query.class_id, query.prompt_id, query.answer) == ("c1", "caption", 1)
        return attempts[query.attempt] if first else good(query)

    sentences, statistics = run(tmp_path, Model(says))
    kept = [(s.text, s.sample_index) for s in sentences if s.text.startswith("It ")]
    assert kept == [("It is grey.", 3), ("It is big.", 4)], "of equals the first"
    assert len(sentences) == 89
    counts = statistics["counts"]
    assert (counts["short"], counts["lost"], counts["missing_sentences"]) == (3, 0, 1)
    assert statistics["missing_by_class"] == {"c1": 1}


def test_a_short_attempt_is_kept_when_the_others_cannot_be_read(tmp_path):
    def says(query: Query) -> Reply:
        if query.class_id != "c2":
            return good(query)
        cut = '{"sentences": ["It is red.", "It is small.", "It ha'
        return Reply("no", True, 1, 1) if query.attempt else Reply(cut, False, 1, 1)

    sentences, statistics = run(tmp_path, Model(says), options={"retries": 1})
    assert len([s for s in sentences if s.class_id == "c2"]) == 2 * 10
    counts = statistics["counts"]
    assert (counts["truncated"], counts["unreadable"], counts["lost"]) == (10, 10, 0)
    assert statistics["missing_by_class"] == {"c2": 10}
    again = Model()
    whole, _ = run(tmp_path, again, options={"retries": 1})
    assert [len(batch) for batch in again.batches] == [10], "short attempts are paid for once"
    assert len(whole) == 90


def test_many_classes_with_missing_sentences_are_counted_only(tmp_path):
    many = [ClassEntry(f"c{number}", f"class {number}") for number in range(NAMED + 1)]
    lacking = Model(lambda query: said("It is red.", "It is small."))
    _, statistics = run(tmp_path, lacking, classes=many, options={"retries": 0})
    assert statistics["counts"]["missing_sentences"] == 10 * len(many)
    assert "missing_by_class" not in statistics
    _, statistics = run(tmp_path, lacking, classes=many[1:], options={"retries": 0})
    assert len(statistics["missing_by_class"]) == NAMED


def test_an_interrupted_run_asks_for_the_rest_only(tmp_path):
    expected, _ = run(tmp_path / "whole", Model())
    seen = []

    def dies(query: Query) -> Reply:
        if len(seen) == 7:
            raise ConnectionError("gone")
        seen.append(query)
        return good(query)

    with pytest.raises(ConnectionError):
        run(tmp_path / "cut", Model(dies))
    log = tmp_path / "cut/answers.jsonl"
    assert len(log.read_bytes().splitlines()) == 7
    with log.open("a") as file:
        file.write('["torn by a kill", "{')
    model = Model()
    sentences, statistics = run(tmp_path / "cut", model)
    assert len(model.batches[0]) == 30 - 7
    assert statistics["counts"]["from_earlier_run"] == 7
    assert sentences == expected
    assert all(json.loads(line) for line in log.read_text().splitlines())
    # what was paid for serves a larger wish as well
    more = Model()
    run(tmp_path / "cut", more, options={"answers": 3, "retries": 5})
    assert len(more.batches[0]) == 15


def test_a_finished_run_forgets_its_own_answers_only(tmp_path):
    run(tmp_path, Model())
    log = AnswerLog(tmp_path / "answers.jsonl")
    some = task(tmp_path, CLASSES[1:2])
    params = GenerationParams.model_validate(OPTIONS)
    finished = replace(some, log=log)
    collect_answers(finished, params, "test", {"revision": "abc"}, Model().send)
    log.forget_used()
    model = Model()
    _, statistics = run(tmp_path, model)
    assert {query.class_id for query in model.batches[0]} == {"c1"}
    assert statistics["counts"]["from_earlier_run"] == 20
    log = AnswerLog(tmp_path / "answers.jsonl")
    for key in list(log.replies):
        log.get(key)
    log.forget_used()
    assert not log.path.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"temperature": 0.5}},
        {"options": {"model": "other"}},
        {"options": {"max_tokens": 300}},
        {"options": {"sentences": 2}},
        {"seed": 5},
        {"exemplars": {c.class_id: [Exemplar(0, b"png")] for c in CLASSES}},
        {"exemplars": {c.class_id: [Exemplar(0, b"another")] for c in CLASSES}},
    ],
)
def test_another_request_is_not_answered_from_the_log(tmp_path, changes):
    run(tmp_path, Model())
    if changes.get("exemplars", {}).get("c0") == [Exemplar(0, b"another")]:
        run(tmp_path, Model(), exemplars={c.class_id: [Exemplar(0, b"png")] for c in CLASSES})
    model = Model()
    _, statistics = run(tmp_path, model, **changes)
    assert len(model.batches[0]) == 30
    assert statistics["counts"]["from_earlier_run"] == 0


def test_a_damaged_log_is_named(tmp_path):
    (tmp_path / "answers.jsonl").write_text("{}\nnonsense\n")
    with pytest.raises(UserError, match=r"answers.jsonl: line 1 is not an answer; delete the file"):
        AnswerLog(tmp_path / "answers.jsonl")
    for content in ("\n", "\0" * 64 + "\n", "\r\n"):
        (tmp_path / "answers.jsonl").write_text(content)
        assert AnswerLog(tmp_path / "answers.jsonl").replies == {}
    log = AnswerLog(tmp_path / "new.jsonl")
    log.add(request_key(["a"]), Reply("text", True, 1, 2))
    assert AnswerLog(log.path).get(request_key(["a"])) == Reply("text", True, 1, 2)
    assert AnswerLog(log.path).get(request_key(["b"])) is None


def test_the_log_does_not_depend_on_the_process(tmp_path):
    command = (
        "from pipeline.descriptions.answer_log import request_key; "
        "print(request_key({'b': 1, 'a': 'é'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == request_key({"a": "é", "b": 1})


def test_exemplars_come_before_the_question(tmp_path):
    model = Model()
    exemplars = {c.class_id: [Exemplar(0, b"1"), Exemplar(1, b"2")] for c in CLASSES}
    run(tmp_path, model, exemplars=exemplars)
    query = model.batches[0][0]
    assert query.text.startswith("The pictures above show an apple.")
    content = message_content(query)
    assert [part["type"] for part in content] == ["image_url", "image_url", "text"]
    assert content[0]["image_url"]["url"] == "data:image/png;base64,MQ=="
    assert content[2]["text"] == query.text
    plain = Model()
    run(tmp_path, plain)
    assert message_content(plain.batches[0][0]) == plain.batches[0][0].text


@pytest.mark.parametrize(
    "text",
    ["", "[", "3", "null", '"one"', "[1]", '["a", 2]', "[]", '[" "]', "{}", '{"sentences": "a"}',
     '{"sentences": {"a": "b"}}', '{"sentences": []}', '{"a": ["x"], "b": ["y"]}', "]a[", "} {",
     '["half \\ud850 a character"]', "[" * 100_000, "I'm sorry, but I cannot.",
     '{"error": ["model overloaded"]}', '<think>{"sentences": ["no"]}', "I am unable to help.",
     '["I am unable to help."]',
     '["I’m sorry, but I cannot describe it.", "As an AI model I have no eyes."]'],
)  # fmt: skip
def test_unreadable_texts(text):
    assert parse_answer(text) == []


@pytest.mark.parametrize(
    "text",
    ['{"sentences": ["One.", " ", "Two."]}', '["One.", "Two."]', '{"list": ["One.", "Two."]}',
     '{"sentences": ["One.", "Two."]} Hope {this} helps',
     'Note: {"sentences": ["One.", "Two."]} [1]',
     'Here [as asked] is: {"sentences": ["One.", "Two."]}', 'use {x}</think>["One.", "Two."]',
     '<thinking>{"sentences": ["no"]}</thinking> {"sentences": ["One.", "Two."]}',
     '```json\n{"sentences": ["One.", "Two."]}\n```', 'Sure, here: ["One.", "Two."] Enjoy!',
     '<think>a [list] {?}</think>\n{"sentences": ["One.", "Two."]}'],
)  # fmt: skip
def test_readable_texts(text):
    assert parse_answer(text) == ["One.", "Two."]


def test_a_tag_inside_a_sentence_is_left_alone():
    assert parse_answer('["a <think> b </think> c", "d {e}"]') == [
        "a <think> b </think> c",
        "d {e}",
    ]
    assert parse_answer('["I cannot think of a tench without red eyes."]') != []


def test_an_answer_that_was_cut_off_is_never_taken_for_whole(tmp_path):
    assert parse_answer('{"sentences": ["[", "a b"]') == []
    assert parse_answer('["[\\"a b\\"]') == []
    model = Model(lambda query: good(query)._replace(complete=query.attempt > 0))
    sentences, statistics = run(tmp_path, model)
    assert (statistics["counts"]["truncated"], statistics["counts"]["lost"]) == (30, 0)
    assert len(sentences) == 90


def test_endless_white_space_is_asked_again_and_then_its_class_has_no_sentence(tmp_path):
    """A model under a JSON schema may end in blanks up to max_tokens."""
    blanks = '{"sentences": ["a' + " " * 4096

    def says(query: Query) -> Reply:
        return Reply(blanks, False, 1, 4096) if query.class_id == "c1" else good(query)

    assert parse_answer(blanks) == []
    model = Model(says)
    sentences, statistics = run(tmp_path, model, options={"retries": 2})
    assert [len(batch) for batch in model.batches] == [30, 10, 10]
    seeds_of = [
        {query.seed for query in batch if query.class_id == "c1"} for batch in model.batches
    ]
    assert not seeds_of[0] & seeds_of[1]
    assert not seeds_of[1] & seeds_of[2]
    assert (statistics["counts"]["truncated"], statistics["counts"]["lost"]) == (30, 10)
    answers = Answers(sentences, {})
    assert classes_without_sentence(answers, CLASSES) == ["c1"], "which check_answers names"


def test_what_cannot_be_read_is_not_kept(tmp_path):
    bad = Model(lambda query: Reply("[]", True, 1, 1))
    _, statistics = run(tmp_path, bad)
    assert statistics["counts"]["lost"] == 30
    assert not (tmp_path / "answers.jsonl").exists()
    mended = Model()
    sentences, _ = run(tmp_path, mended)
    assert len(mended.batches[0]) == 30
    assert len(sentences) == 90


def test_one_refusal_among_sentences_is_left_to_the_filter():
    assert parse_answer('["I cannot say more.", "A tench is green."]') == [
        "I cannot say more.", "A tench is green.",
    ]  # fmt: skip


def test_the_schema_asks_for_the_right_number():
    sentences = answer_schema(4, bounded=False)["properties"]["sentences"]
    assert (sentences["minItems"], sentences["maxItems"]) == (4, 4)
    assert sentences["items"] == {"type": "string"}
    limited = answer_schema(4, bounded=True)["properties"]["sentences"]
    assert limited == sentences | {"items": {"type": "string", "minLength": 8, "maxLength": 300}}


def test_a_model_that_says_too_much_is_cut_to_the_number_asked(tmp_path):
    def says(query: Query) -> Reply:
        return Reply(json.dumps([f"{query.seed} {i}" for i in range(9)]), True, 1, 1)

    sentences, statistics = run(tmp_path, Model(says), classes=CLASSES[:1])
    assert statistics["counts"]["surplus_sentences"] == 10 * 6
    assert [s.sample_index for s in sentences[:6]] == [0, 1, 2, 3, 4, 5]
    assert len(sentences) == 30


def test_provenance_names_questions_and_sampling(tmp_path):
    params = GenerationParams.model_validate(OPTIONS)
    provenance = generation_provenance(
        task(tmp_path, exemplars={"c0": [Exemplar(3, b"1"), Exemplar(1, b"2")]}), params
    )
    assert provenance == {
        "model": "maker/model",
        "prompts": "cupl",
        "prompts_version": PROMPTS.version,
        "prompts_sha256": PROMPTS.digest(),
        "classes_with_gloss": 0,
        "exemplars_per_class": 2,
        "seed": 0,
        "sampling": {key: value for key, value in OPTIONS.items() if key != "model"},
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("answers", 0), ("sentences", "3"), ("temperature", 0.0), ("top_p", 1.5),
        ("max_tokens", 8), ("retries", -1),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(key, value):
    with pytest.raises(ValueError, match=key):
        GenerationParams.model_validate(OPTIONS | {key: value})


def test_answers_that_were_kept_are_still_found(tmp_path, monkeypatch):
    """The key of a request and the folder of the log, as they always were: a change of either
    throws away what people paid for."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    values = {"revision": "abc", "dtype": "bfloat16", "weights": "f00d"}
    params = GenerationParams.model_validate(OPTIONS)
    collect_answers(task(tmp_path), params, "vllm", values, Model().send)
    apple = (tmp_path / "answers.jsonl").read_text()
    assert "06be8d8304514d584501cd4f07dd3b9181b58c3d06aac03a38148384de1477b5" in apple
    describe = DescribeParams(
        dataset="x", backend="vllm", prompts="cupl", exemplars="none", per_image=False,
        confusions="none",
        gloss="known", only=None, empty_class="error", seed=0, options={},
    )  # fmt: skip
    options = vllm.Params.model_validate(OPTIONS | {
        "revision": "main", "dtype": "bfloat16", "tensor_parallel_size": 1, "max_model_len": 2048,
        "gpu_memory_utilization": 0.9, "enforce_eager": True, "batch_invariant": False,
    })  # fmt: skip
    with session.answer_log(describe, vllm, options, PROMPTS) as log:
        assert log is not None
        assert log.path.parent.name == "describe-vllm-e87b7086d461"

"""The vLLM backend against a stand-in engine; one test runs the real one where there is a GPU."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.descriptions import in_class_order
from pipeline.descriptions import vllm as backend
from pipeline.descriptions._prompts import (
    PROMPT_SETS,
    SEED_SPACING,
    Question,
    build_prompts,
    digest,
    request_seed,
    with_article,
)
from pipeline.errors import UserError
from pipeline.images import ClassEntry
from pipeline.params import validate
from pipeline.registry import names

CLASSES = [ClassEntry("c0", "apple"), ClassEntry("c1", "Ostrich"), ClassEntry("c2", "crane {x}")]
OPTIONS: dict[str, Any] = {
    "model": "maker/model",
    "revision": "abc",
    "prompts": "cupl",
    "answers": 2,
    "sentences": 3,
    "temperature": 0.9,
    "top_p": 0.95,
    "max_tokens": 256,
    "retries": 2,
    "dtype": "bfloat16",
    "tensor_parallel_size": 1,
    "gpu_memory_utilization": 0.9,
    "max_model_len": 2048,
    "enforce_eager": True,
}
Reply = Callable[[int, str, int], tuple[str, str]]
"""(number of the batch, message, number of the answer) -> (text, finish_reason)."""


def good(batch: int, message: str, index: int) -> tuple[str, str]:
    """Three sentences that no other answer has."""
    return json.dumps([f"{message[:40]} {batch} {index} {i}" for i in range(3)]), "stop"


class Engine:
    """What the stand-in `vllm` saw."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.started: list[dict[str, Any]] = []
        self.batches: list[tuple[list[Any], list[Any]]] = []
        self.released = 0
        self.environment: str | None = None

    def start(self, **arguments: Any) -> SimpleNamespace:
        self.started.append(arguments)
        self.environment = os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING")
        config = SimpleNamespace(hf_config=SimpleNamespace(_commit_hash="f00d"))
        return SimpleNamespace(chat=self.chat, model_config=config)

    def chat(self, conversations: list[Any], sampling: list[Any]) -> list[Any]:
        number = len(self.batches)
        self.batches.append((conversations, sampling))
        outputs = []
        for conversation, settings in zip(conversations, sampling, strict=True):
            message = conversation[0]["content"]
            answers = [self.reply(number, message, i) for i in range(settings.n)]
            outputs.append([SimpleNamespace(text=t, finish_reason=r) for t, r in answers])
        return [SimpleNamespace(outputs=answers) for answers in outputs]

    def release(self) -> None:
        self.released += 1


def install(monkeypatch: pytest.MonkeyPatch, reply: Reply = good) -> Engine:
    """Put a stand-in `vllm` and one CUDA device where the backend looks for them."""
    engine = Engine(reply)
    modules: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": engine.start, "__version__": "0.0"},
        "vllm.sampling_params": {
            "SamplingParams": SimpleNamespace,
            "StructuredOutputsParams": SimpleNamespace,
        },
        "vllm.distributed": {"cleanup_dist_env_and_memory": engine.release},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    pretend_cuda(monkeypatch)
    return engine


def pretend_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    # The backend sets this one; registering it here has it put back after the test.
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")


def params(**changes: Any) -> backend.Params:
    return validate(OPTIONS | changes, backend.Params, "params.yaml: describe.options.vllm")


def test_everything_is_asked_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = install(monkeypatch)
    answers = backend.describe(CLASSES, params(), seed=0)
    [(conversations, sampling)] = engine.batches
    assert len(conversations) == len(sampling) == len(CLASSES) * 5
    assert all(len(c) == 1 and c[0]["role"] == "user" for c in conversations)
    assert conversations[0][0]["content"].startswith("Describe what an apple looks like\n")
    assert conversations[7][0]["content"].startswith("What does an Ostrich look like?\n")
    assert conversations[14][0]["content"].startswith("A caption of an image of a crane {x}:\n")
    assert len(answers.sentences) == len(CLASSES) * 5 * 2 * 3
    assert answers.sentences[6].source == "vllm:cupl.2"
    columns = in_class_order(answers, CLASSES)
    assert [columns["class_id"].count(c.class_id) for c in CLASSES] == [30, 30, 30]


def test_sampling_is_explicit_and_held_to_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = install(monkeypatch)
    backend.describe(CLASSES, params(), seed=0)
    first = engine.batches[0][1][0]
    assert set(vars(first)) == {
        *("n", "temperature", "top_p", "max_tokens", "seed", "structured_outputs")
    }
    assert (first.n, first.temperature, first.top_p, first.max_tokens) == (2, 0.9, 0.95, 256)
    assert first.structured_outputs.disable_any_whitespace is True
    schema = first.structured_outputs.json
    assert (schema["type"], schema["items"]) == ("array", {"type": "string"})
    assert (schema["minItems"], schema["maxItems"]) == (3, 3)


def test_engine_is_pinned_deterministic_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = install(monkeypatch)
    backend.describe(CLASSES, params(), seed=7)
    [started] = engine.started
    assert (started["model"], started["revision"]) == ("maker/model", "abc")
    assert started["tokenizer_revision"] == "abc"
    assert started["trust_remote_code"] is False
    assert (started["generation_config"], started["seed"]) == ("vllm", 7)
    assert started["dtype"] == "bfloat16"
    assert started["max_model_len"] == 2048
    assert started["gpu_memory_utilization"] == 0.9
    assert started["enforce_eager"] is True
    assert engine.environment == "0"
    assert engine.released == 1


def test_engine_is_released_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(batch: int, message: str, index: int) -> tuple[str, str]:
        raise RuntimeError("lost the device")

    engine = install(monkeypatch, broken)
    with pytest.raises(RuntimeError, match="lost the device"):
        backend.describe(CLASSES, params(), seed=0)
    assert engine.released == 1


def seeds_by_message(monkeypatch: pytest.MonkeyPatch, classes: list[ClassEntry], seed: int) -> Any:
    engine = install(monkeypatch)
    backend.describe(classes, params(), seed)
    [(conversations, sampling)] = engine.batches
    return {c[0]["content"]: s.seed for c, s in zip(conversations, sampling, strict=True)}


def test_seeds_depend_on_the_question_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = seeds_by_message(monkeypatch, CLASSES, 0)
    assert seeds_by_message(monkeypatch, CLASSES[::-1], 0) == seeds
    assert seeds_by_message(monkeypatch, CLASSES[:1], 0).items() <= seeds.items()
    assert not set(seeds_by_message(monkeypatch, CLASSES, 1).values()) & set(seeds.values())
    # A value written down: Python's own hash() would differ from process to process.
    question = Question("c0", "cupl.1", "")
    assert request_seed(question, seed=0, attempt=0) == 239386489998602240


def test_seeds_of_all_answers_are_distinct() -> None:
    asked = [Question(f"c{i}", f"cupl.{j}", "") for i in range(200) for j in range(1, 6)]
    starts = sorted(request_seed(q, 0, attempt) for q in asked for attempt in range(3))
    gaps = [after - before for before, after in zip(starts, starts[1:], strict=False)]
    assert min(gaps) >= SEED_SPACING
    assert starts[0] >= 0
    assert starts[-1] + SEED_SPACING < 2**63


def test_unreadable_answers_are_asked_again_with_another_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(batch: int, message: str, index: int) -> tuple[str, str]:
        if message.startswith("How can you identify an apple?") and batch == 0:
            return '["An apple is', "length"
        if message.startswith("A caption of an image of an Ostrich") and batch < 2 and index == 0:
            return '{"not": "a list"}', "stop"
        return good(batch, message, index)

    engine = install(monkeypatch, reply)
    answers = backend.describe(CLASSES, params(), seed=0)
    assert [len(conversations) for conversations, _ in engine.batches] == [15, 2, 1]
    assert [s.n for s in engine.batches[1][1]] == [2, 1]
    for batch, place in ((1, 0), (1, 1), (2, 0)):
        [message] = engine.batches[batch][0][place]
        earlier = engine.batches[0][0].index([message])
        assert engine.batches[batch][1][place].seed != engine.batches[0][1][earlier].seed
    assert engine.batches[2][1][0].seed != engine.batches[1][1][1].seed
    counts = answers.provenance["counts"]
    assert counts == {"asked": 34, "truncated": 2, "invalid": 2, "lost": 0}
    assert len(answers.sentences) == 90, "every answer was got in the end"
    assert "'truncated': 2" in capsys.readouterr().err


def test_answers_lost_for_good_are_counted_and_an_empty_class_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reply(batch: int, message: str, index: int) -> tuple[str, str]:
        return ('["  "]', "stop") if "an Ostrich" in message else good(batch, message, index)

    engine = install(monkeypatch, reply)
    answers = backend.describe(CLASSES, params(retries=1), seed=0)
    assert [len(conversations) for conversations, _ in engine.batches] == [15, 5]
    assert answers.provenance["counts"] == {"asked": 40, "truncated": 0, "invalid": 20, "lost": 10}
    with pytest.raises(UserError, match="no description for 1 of 3 classes: c1"):
        in_class_order(answers, CLASSES)


@pytest.mark.parametrize("text", ["", "[", "3", "null", '"one"', "[1]", '["a", 2]', "[]", '[" "]'])
def test_unreadable_texts(text: str) -> None:
    assert backend.parse(text) == []


def test_blank_sentences_are_left_out() -> None:
    assert backend.parse('["One.", " ", "Two."]') == ["One.", "Two."]


def test_provenance_repeats_and_names_what_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    first = backend.describe(CLASSES, params(), seed=0).provenance
    assert backend.describe(CLASSES, params(), seed=0).provenance == first
    assert json.loads(json.dumps(first)) == first
    assert (first["model"], first["revision"], first["commit"]) == ("maker/model", "abc", "f00d")
    assert first["prompts_sha256"] == digest("cupl") != digest("visual")
    assert first["sampling"] == {
        k: OPTIONS[k]
        for k in ("answers", "sentences", "temperature", "top_p", "max_tokens", "retries")
    }
    assert (first["vllm"], first["torch"], first["gpu"]) == ("0.0", torch.__version__, "Some GPU")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("apple", "an apple"),
        ("Ostrich", "an Ostrich"),
        ("Unicorn", "an Unicorn"),
        ("EGG", "an EGG"),
        ("tench", "a tench"),
        ("Zebra", "a Zebra"),
    ],
)
def test_article_goes_by_the_first_letter(name: str, expected: str) -> None:
    assert with_article(name) == expected


@pytest.mark.parametrize("prompts", sorted(PROMPT_SETS))
def test_prompts_name_class_and_count(prompts: Any) -> None:
    messages = build_prompts(prompts, "owl {1}", 4)
    assert len(set(messages)) == 5
    for message in messages:
        assert message.split("\n")[0].count("an owl {1}") == 1
        assert "exactly 4 strings" in message
        assert "{}" not in message
        assert "{count}" not in message


def test_prompt_module_is_no_backend() -> None:
    assert "vllm" in names("pipeline.descriptions")
    assert "_prompts" not in names("pipeline.descriptions")


def test_missing_vllm_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"pip install -e \.\[vllm\]"):
        backend.describe(CLASSES, params(), seed=0)


@pytest.mark.parametrize("devices", [0, 1])
def test_too_few_cuda_devices_is_a_user_error(
    monkeypatch: pytest.MonkeyPatch, devices: int
) -> None:
    install(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    with pytest.raises(UserError, match=rf"2 CUDA device\(s\), torch sees {devices}"):
        backend.describe(CLASSES, params(tensor_parallel_size=2), seed=0)


def test_unknown_model_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**arguments: Any) -> None:
        raise OSError("no such repository\nsee the hub")

    install(monkeypatch)
    monkeypatch.setattr(sys.modules["vllm"], "LLM", start)
    with pytest.raises(UserError, match="maker/model at revision abc: no such repository see"):
        backend.describe(CLASSES, params(), seed=0)


@pytest.mark.parametrize("key", sorted(OPTIONS))
def test_every_key_must_be_given(key: str) -> None:
    values = {k: v for k, v in OPTIONS.items() if k != key}
    with pytest.raises(UserError, match=f"missing key '{key}'"):
        validate(values, backend.Params, "params.yaml: describe.options.vllm")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompts", "imagenet"),
        ("answers", 0),
        ("answers", SEED_SPACING + 1),
        ("sentences", "3"),
        ("temperature", 0.0),
        ("top_p", 1.5),
        ("max_tokens", 2.5),
        ("retries", -1),
        ("dtype", "fp16"),
        ("gpu_memory_utilization", 0.0),
        ("enforce_eager", "yes"),
    ],
)
def test_wrong_values_are_named(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"describe.options.vllm: key '{key}'.*found"):
        params(**{key: value})


def test_unknown_key_is_named() -> None:
    with pytest.raises(UserError, match="unknown key 'top_k'"):
        params(top_k=5)


@pytest.mark.gpu
def test_real_engine_answers_repeats_and_frees_the_gpu() -> None:
    """SAFT_VLLM_MODEL names another small chat model, e.g. a local folder."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    model = os.environ.get("SAFT_VLLM_MODEL", "Qwen/Qwen2.5-0.5B-Instruct")
    small = params(
        model=model, revision="main", answers=1, max_tokens=512, gpu_memory_utilization=0.3
    )
    first = backend.describe(CLASSES[:2], small, seed=0)
    columns = in_class_order(first, CLASSES[:2])
    assert set(columns["class_id"]) == {"c0", "c1"}
    assert all(text.strip() for text in columns["text"])
    assert first.provenance["counts"]["asked"] >= 10
    assert torch.cuda.memory_allocated() < 2**28, "the weights alone take more than that"
    assert backend.describe(CLASSES[:2], small, seed=0).sentences == first.sentences

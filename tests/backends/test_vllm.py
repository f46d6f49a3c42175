"""The vLLM backend against a stand-in engine; tests/integration runs the real one on a CPU,
and one test here where there is a GPU."""

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.backends import vllm as backend
from pipeline.common.errors import UserError
from pipeline.common.params import validate
from pipeline.descriptions import vllm_engine
from pipeline.descriptions.answer_log import AnswerLog
from pipeline.descriptions.interface import Answers, Task
from tests.support.model_folders import write_model_folder
from tests.support.tasks import CLASSES, OPTIONS, PICTURES, PROMPTS

ENGINE: dict[str, Any] = {
    "revision": "abc",
    "dtype": "bfloat16",
    "tensor_parallel_size": 1,
    "gpu_memory_utilization": 0.9,
    "max_model_len": 2048,
    "enforce_eager": True,
    "batch_invariant": False,
}
Says = Callable[[SimpleNamespace], tuple[str, str]]


def good(request: SimpleNamespace) -> tuple[str, str]:
    return json.dumps({"sentences": [f"{request.params.seed} {i}" for i in range(3)]}), "stop"


class VLLMError(Exception):
    """As in vLLM, no ValueError."""


class Engine:
    """What the stand-in `vllm` saw. It finishes two requests per step, the last ones first."""

    def __init__(self, says: Says) -> None:
        self.says = says
        self.started: list[dict[str, Any]] = []
        self.queue: list[SimpleNamespace] = []
        self.seen: list[SimpleNamespace] = []
        self.most = 0
        self.released = 0
        self.environment: dict[str, str | None] = {}
        self.on_cpu = False
        self.commit: str | None = "f00d"  # None as of a model in a local folder

    def start(self, **arguments: Any) -> SimpleNamespace:
        self.started.append(arguments)
        names = ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_BATCH_INVARIANT")
        self.environment = {name: os.environ.get(name) for name in names}
        about = SimpleNamespace(_commit_hash=self.commit, architectures=["SomeForCausalLM"])
        config = SimpleNamespace(hf_config=about)
        return SimpleNamespace(enqueue_chat=self.enqueue, llm_engine=self, model_config=config)

    def enqueue(self, messages: list[Any], params: Any, use_tqdm: bool) -> list[str]:
        request = SimpleNamespace(id=str(len(self.seen)), messages=messages, params=params)
        self.seen.append(request)
        self.queue.append(request)
        self.most = max(self.most, len(self.queue))
        return [f"{request.id}-a1b2c3"]

    def step(self) -> list[SimpleNamespace]:
        unfinished = SimpleNamespace(finished=False)
        return [unfinished, *(self._answer(self.queue.pop()) for _ in self.queue[-2:])]

    def _answer(self, request: SimpleNamespace) -> SimpleNamespace:
        text, reason = self.says(request)
        answer = SimpleNamespace(text=text, finish_reason=reason, token_ids=[1, 2, 3])
        return SimpleNamespace(
            finished=True, request_id=request.id, outputs=[answer], prompt_token_ids=[1, 2]
        )

    def release(self) -> None:
        self.released += 1


def install(monkeypatch: pytest.MonkeyPatch, says: Says = good, gpus: int = 1) -> Engine:
    """Put a stand-in `vllm` and CUDA devices where the backend looks for them."""
    engine = Engine(says)
    platform = SimpleNamespace(is_cpu=lambda: engine.on_cpu, get_device_name=lambda: "Some GPU")
    modules: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": engine.start, "__version__": "0.0"},
        "vllm.sampling_params": {
            "SamplingParams": SimpleNamespace,
            "StructuredOutputsParams": SimpleNamespace,
            "RequestOutputKind": SimpleNamespace(FINAL_ONLY="final"),
        },
        "vllm.platforms": {"current_platform": platform},
        "vllm.exceptions": {"VLLMError": VLLMError},
        "vllm.distributed": {"cleanup_dist_env_and_memory": engine.release},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    # The backend sets these; registering them here has them put back after the test.
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "0")
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")
    monkeypatch.delenv("VLLM_LOGGING_LEVEL")
    return engine


def params(**changes: Any) -> backend.Params:
    values = OPTIONS | ENGINE | changes
    return validate(values, backend.Params, "params.yaml: describe.options.vllm")


def describe(folder: Path, exemplars: Any = None, per_image: bool = False, **changes: Any):
    log = AnswerLog(folder / "answers.jsonl")
    task = Task(CLASSES, "cupl", PROMPTS, exemplars or {}, 7, log, per_image=per_image)
    return backend.describe(task, params(**changes))


def test_all_requests_share_one_continuous_batch(monkeypatch, tmp_path):
    engine = install(monkeypatch)
    answers = describe(tmp_path)
    assert len(engine.seen) == engine.most == 3 * 5 * 2, "all were queued before the first step"
    assert len({request.params.seed for request in engine.seen}) == 30
    assert len(answers.sentences) == 90
    by_place = [int(s.text.split()[0]) for s in answers.sentences[::3]]
    assert by_place == [request.params.seed for request in engine.seen], "matched by request id"
    assert {s.source for s in answers.sentences} == {"vllm"}
    assert answers.provenance["counts"]["completion_tokens"] == 90


def test_the_queue_is_kept_full_but_bounded(monkeypatch, tmp_path):
    engine = install(monkeypatch)
    monkeypatch.setattr(backend, "IN_FLIGHT", 4)
    answers = describe(tmp_path)
    assert engine.most == 4
    assert len(answers.sentences) == 90


def test_sampling_is_explicit_and_held_to_the_schema(monkeypatch, tmp_path):
    engine = install(monkeypatch)
    describe(tmp_path)
    first = engine.seen[0].params
    assert set(vars(first)) == {
        *("n", "temperature", "top_p", "max_tokens", "seed", "structured_outputs", "output_kind")
    }
    assert (first.n, first.temperature, first.top_p, first.max_tokens) == (1, 0.9, 0.95, 256)
    sentences = first.structured_outputs.json["properties"]["sentences"]
    assert sentences["maxItems"] == 3
    assert sentences["items"] == {"type": "string", "minLength": 8, "maxLength": 300}


def test_the_engine_is_pinned_and_released(monkeypatch, tmp_path):
    engine = install(monkeypatch)
    describe(tmp_path)
    [started] = engine.started
    assert (started["model"], started["revision"]) == ("maker/model", "abc")
    assert started["tokenizer_revision"] == "abc"
    assert started["trust_remote_code"] is False
    assert (started["generation_config"], started["seed"]) == ("vllm", 7)
    assert started["structured_outputs_config"]["disable_any_whitespace"] is True
    assert {key: started[key] for key in vllm_engine.ENGINE} == {
        key: ENGINE[key] for key in vllm_engine.ENGINE
    }
    assert "limit_mm_per_prompt" not in started
    assert "enable_chunked_prefill" not in started
    assert engine.environment == {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_BATCH_INVARIANT": "0",
    }
    assert engine.released == 1


def test_batch_invariance_is_switched_on_before_vllm_starts(monkeypatch, tmp_path):
    engine = install(monkeypatch)
    describe(tmp_path, batch_invariant=True)
    assert engine.environment["VLLM_BATCH_INVARIANT"] == "1"


def test_the_engine_is_released_after_an_error_and_answers_are_kept(monkeypatch, tmp_path):
    def broken(request: SimpleNamespace) -> tuple[str, str]:
        if request.id == "20":
            raise RuntimeError("lost the device")
        return good(request)

    engine = install(monkeypatch, broken)
    with pytest.raises(RuntimeError, match="lost the device"):
        describe(tmp_path)
    assert engine.released == 1
    kept = len((tmp_path / "answers.jsonl").read_bytes().splitlines())
    assert kept >= 8
    again = install(monkeypatch)
    assert len(describe(tmp_path).sentences) == 90
    assert len(again.seen) == 30 - kept


def test_an_answer_cut_at_the_limit_is_counted_so(monkeypatch, tmp_path):
    def cut(request: SimpleNamespace) -> tuple[str, str]:
        return ('{"sentences": ["A', "length") if request.id == "3" else good(request)

    install(monkeypatch, cut)
    counts = describe(tmp_path).provenance["counts"]
    assert (counts["truncated"], counts["unreadable"], counts["lost"]) == (1, 0, 0)


def test_other_weights_in_the_same_folder_are_another_model(monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    model = write_model_folder(tmp_path / "model", weight=1.0)
    for weight, requests in ((1.0, 30), (1.0, 0), (2.0, 30)):
        os.utime(write_model_folder(model, weight) / "model.safetensors")  # dates tell nothing
        engine = install(monkeypatch)
        engine.commit = None
        describe(tmp_path, model=str(model))
        assert len(engine.seen) == requests


def test_a_copied_and_renamed_model_keeps_its_answers_and_is_named_by_its_content(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    install(monkeypatch).commit = None
    model = write_model_folder(tmp_path / "model")
    first = describe(tmp_path, model=str(model)).provenance
    copied = shutil.copytree(model, tmp_path / "disk/qwen")
    (copied / "README.md").write_text("read by no engine")
    engine = install(monkeypatch)
    engine.commit = None
    provenance = describe(tmp_path, model=str(copied)).provenance
    assert engine.seen == []
    assert (first["model"], provenance["model"]) == ("model", "qwen")
    assert provenance["model_files"] == first["model_files"]
    weights = (model / "model.safetensors").read_bytes()
    assert provenance["model_files"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert provenance["architecture"] == ["SomeForCausalLM"]
    assert provenance["revision"] is None
    assert str(tmp_path) not in json.dumps(provenance)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("chat_template.jinja", "no chat template"),
        ("config.json", "no config.json"),
        ("model.safetensors", "holds no weights"),
    ],
)
def test_a_folder_that_is_no_chat_model_is_named_before_the_engine_starts(
    monkeypatch, tmp_path, broken, message
):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    model = write_model_folder(tmp_path / "model")
    (model / broken).unlink()
    engine = install(monkeypatch)
    with pytest.raises(UserError, match=message):
        describe(tmp_path, model=str(model))
    assert engine.started == []


def test_a_template_of_the_engines_own_is_enough(monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    model = write_model_folder(tmp_path / "model")
    (model / "chat_template.jinja").unlink()
    install(monkeypatch)
    templates = ModuleType("vllm.transformers_utils.chat_templates")
    templates.get_chat_template_fallback_path = lambda kind, name: {"some": Path(name)}.get(kind)
    monkeypatch.setitem(sys.modules, templates.__name__, templates)
    assert len(describe(tmp_path, model=str(model)).sentences) == 90


def test_the_load_is_shown_from_the_first_second_and_the_engine_is_quiet(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(backend, "_running", lambda engine, in_engine: min(in_engine, 8))
    install(monkeypatch)
    describe(tmp_path)
    shown = capsys.readouterr().err
    begin = shown.index("vLLM loads maker/model")
    assert begin < shown.index("0 running, 30 waiting") < shown.rindex("tokens/s")
    assert os.environ["VLLM_LOGGING_LEVEL"] == "WARNING"


def test_a_batch_takes_no_more_than_the_engine_says():
    scheduler = SimpleNamespace(max_num_seqs=256)
    engine = SimpleNamespace(vllm_config=SimpleNamespace(scheduler_config=scheduler))
    assert (backend._running(engine, 400), backend._running(engine, 3)) == (256, 3)
    assert backend._running(SimpleNamespace(), 400) == 400, "an engine that does not say"


def test_exemplars_are_shown_and_announced(monkeypatch, tmp_path):
    engine = install(monkeypatch)
    answers = describe(tmp_path, PICTURES)
    assert engine.started[0]["limit_mm_per_prompt"] == {"image": 2}
    [message] = engine.seen[0].messages
    assert [part["type"] for part in message["content"]] == ["image_url", "image_url", "text"]
    assert answers.provenance["exemplars_per_class"] == 2


def test_one_image_in_a_message_is_announced_where_each_is_described(monkeypatch, tmp_path):
    engine = install(monkeypatch)
    answers = describe(tmp_path, PICTURES, per_image=True)
    assert engine.started[0]["limit_mm_per_prompt"] == {"image": 1}
    assert len(engine.seen) == 3 * 2 * 5 * 2
    for request in engine.seen:
        [message] = request.messages
        assert [part["type"] for part in message["content"]] == ["image_url", "text"]
    assert answers.provenance["images"] == 3 * 2


def test_on_a_cpu_prompts_are_not_split(monkeypatch, tmp_path):
    engine = install(monkeypatch, gpus=0)
    engine.on_cpu = True
    describe(tmp_path)
    assert engine.started[0]["enable_chunked_prefill"] is False
    assert engine.started[0]["max_num_batched_tokens"] == 2048


def test_provenance_names_what_ran(monkeypatch, tmp_path):
    install(monkeypatch)
    answers: Answers = describe(tmp_path)
    provenance = answers.provenance
    assert json.loads(json.dumps(provenance)) == provenance
    assert (provenance["model"], provenance["revision"], provenance["commit"]) == (
        "maker/model",
        "abc",
        "f00d",
    )
    assert (provenance["vllm"], provenance["torch"]) == ("0.0", torch.__version__)
    assert provenance["device"] == "Some GPU"
    assert provenance["same_text_again"] == "uninterrupted only"
    invariant = describe(tmp_path / "invariant", batch_invariant=True).provenance
    assert invariant["same_text_again"] == "interrupted or not"
    assert provenance["engine"] == {
        key: ENGINE[key] for key in (*vllm_engine.ENGINE, "batch_invariant")
    }
    assert provenance["sampling"]["answers"] == 2


def test_missing_vllm_is_a_user_error(monkeypatch, tmp_path):
    install(monkeypatch)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"pip install -e \.\[vllm\]"):
        describe(tmp_path)


@pytest.mark.parametrize("gpus", [0, 1])
@pytest.mark.parametrize("installed", [True, False])
def test_too_few_gpus_say_what_to_do_instead(monkeypatch, tmp_path, gpus, installed):
    install(monkeypatch, gpus=gpus)
    if not installed:
        monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=rf"needs 2 GPU\(s\), torch sees {gpus}") as caught:
        describe(tmp_path, tensor_parallel_size=2)
    assert "dvc pull stages/dvc.yaml:describe" in str(caught.value)
    assert "describe.backend: openai" in str(caught.value)


@pytest.mark.parametrize("kind", [OSError, ValueError, RuntimeError, ArithmeticError])
def test_an_unknown_model_is_a_user_error(monkeypatch, tmp_path, kind):
    def start(**arguments: Any) -> None:
        raise kind("no such repository\nsee the hub")

    engine = install(monkeypatch)
    monkeypatch.setattr(sys.modules["vllm"], "LLM", start)
    with pytest.raises(UserError, match="maker/model at revision abc: no such repository see"):
        describe(tmp_path)
    with pytest.raises(UserError, match="/nowhere at revision abc: there is no such folder"):
        describe(tmp_path, model="/nowhere")
    assert engine.released == 2


@pytest.mark.parametrize("kind", [VLLMError, ValueError])
def test_a_question_that_does_not_fit_names_class_and_prompt(monkeypatch, tmp_path, kind):
    engine = install(monkeypatch)

    def enqueue(messages: list[Any], sampling: Any, use_tqdm: bool) -> list[str]:
        raise kind("longer than the maximum\nmodel length")

    monkeypatch.setattr(engine, "enqueue", enqueue)
    with pytest.raises(UserError, match="'looks_like' about class 'c0': longer than the maximum"):
        describe(tmp_path)


@pytest.mark.parametrize("key", sorted(OPTIONS | ENGINE))
def test_every_key_must_be_given(key):
    values = {k: v for k, v in (OPTIONS | ENGINE).items() if k != key}
    with pytest.raises(UserError, match=f"missing key '{key}'"):
        validate(values, backend.Params, "params.yaml: describe.options.vllm")


@pytest.mark.parametrize(
    ("key", "value"),
    [("dtype", "fp16"), ("gpu_memory_utilization", 0.0), ("enforce_eager", "yes"),
     ("max_model_len", 10), ("tensor_parallel_size", 0), ("top_k", 5)],
)  # fmt: skip
def test_wrong_values_are_named(key, value):
    with pytest.raises(UserError, match=rf"describe.options.vllm: (unknown )?key '{key}'"):
        params(**{key: value})


@pytest.mark.gpu
def test_the_real_engine_answers_repeats_and_frees_the_gpu(tmp_path):
    """SAFT_VLLM_MODEL names another small chat model, e.g. a local folder."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    model = os.environ.get("SAFT_VLLM_MODEL", "Qwen/Qwen2.5-0.5B-Instruct")
    small = {"model": model, "revision": "main", "answers": 1, "max_tokens": 512}
    small |= {"gpu_memory_utilization": 0.3}
    first = describe(tmp_path / "a", **small)
    assert {s.class_id for s in first.sentences} == {c.class_id for c in CLASSES}
    assert first.provenance["counts"]["unreadable"] == 0
    assert torch.cuda.memory_allocated() < 2**28, "the weights alone take more than that"
    assert describe(tmp_path / "b", **small).sentences == first.sentences

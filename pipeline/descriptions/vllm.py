"""Descriptions written by a language model, with vLLM's offline engine on a CUDA device.

All classes x questions go to the engine as one batch; the answer to each is a JSON list of
sentences, held to a schema while it is decoded. An answer that cannot be read (cut off, or no
valid list) is asked again with another seed, one more batch per retry; all of them are counted.

The text repeats only on the same kind of GPU with the same vLLM, in spite of every seed: what
was generated is data, and no later stage asks for it again. Written for the API of vLLM 0.33.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Literal

import torch
from pydantic import Field

from pipeline.descriptions import Answers, Sentence
from pipeline.descriptions._prompts import (
    SEED_SPACING,
    Question,
    SetName,
    digest,
    questions,
    request_seed,
)
from pipeline.errors import UserError
from pipeline.images import ClassEntry
from pipeline.params import Section

WHERE = "describe.options.vllm"
SAMPLING = {"answers", "sentences", "temperature", "top_p", "max_tokens", "retries"}
MEMORY = {"max_model_len", "gpu_memory_utilization", "enforce_eager"}
ENGINE = MEMORY | {"dtype", "tensor_parallel_size"}
Chat = Callable[..., Sequence[Any]]


class Params(Section):
    """`describe.options.vllm`."""

    model: str
    revision: str
    prompts: SetName
    answers: int = Field(ge=1, le=SEED_SPACING)
    sentences: int = Field(ge=1)
    # Above 0: greedy answers would all be equal, and a retry would fail the same way.
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=16)
    retries: int = Field(ge=0)
    dtype: Literal["auto", "bfloat16", "float16", "float32"]
    tensor_parallel_size: int = Field(ge=1)
    gpu_memory_utilization: float = Field(gt=0, le=1)
    max_model_len: int = Field(ge=256)
    enforce_eager: bool


def describe(classes: Sequence[ClassEntry], params: Params, seed: int) -> Answers:
    """Up to questions x `answers` x `sentences` sentences per class, source "vllm:<prompt id>".

    Raises:
        UserError: no CUDA device, vLLM is missing, or the engine cannot load the model.
    """
    vllm = _load_vllm(params.tensor_parallel_size)
    llm = _start(vllm, params, seed)
    try:
        asked = questions(params.prompts, classes, params.sentences)
        sentences, counts = ask(llm.chat, asked, params, seed)
        provenance = _provenance(vllm, llm, params, counts)
    finally:
        # Without both steps the weights stay on the GPU until the process ends.
        del llm
        import_module("vllm.distributed").cleanup_dist_env_and_memory()
    return Answers(sentences, provenance)


def ask(
    chat: Chat, asked: Sequence[Question], params: Params, seed: int
) -> tuple[list[Sentence], dict[str, int]]:
    """Sentences in the order of `asked`, and counts of answers by what became of them.

    `lost` are the answers still unreadable after `retries` further batches; a class left with
    nothing is an error in `in_class_order`.
    """
    found: dict[Question, list[str]] = {question: [] for question in asked}
    counts = Counter(asked=0, truncated=0, invalid=0, lost=0)
    wanted = Counter({question: params.answers for question in asked})
    for attempt in range(params.retries + 1):
        failed: Counter[Question] = Counter()
        for question, answer in _batch(chat, wanted, params, seed, attempt):
            texts = parse(answer.text)
            found[question] += texts
            counts["asked"] += 1
            if not texts:
                failed[question] += 1
                counts["truncated" if answer.finish_reason == "length" else "invalid"] += 1
        wanted = failed
        if not wanted:
            break
    counts["lost"] = wanted.total()
    if counts["truncated"] or counts["invalid"]:
        print(f"describe: some answers could not be read: {dict(counts)}", file=sys.stderr)
    return [
        Sentence(q.class_id, text, f"vllm:{q.prompt_id}") for q in found for text in found[q]
    ], dict(counts)


def _batch(
    chat: Chat, wanted: Counter[Question], params: Params, seed: int, attempt: int
) -> Iterator[tuple[Question, Any]]:
    """One call of the engine for `wanted` answers to each question; every answer it gave."""
    conversations = [[{"role": "user", "content": question.message}] for question in wanted]
    sampling = [_sampling(params, wanted[q], request_seed(q, seed, attempt)) for q in wanted]
    for question, output in zip(wanted, chat(conversations, sampling), strict=True):
        for answer in output.outputs:
            yield question, answer


def parse(text: str) -> list[str]:
    """The sentences of an answer; none if it is no JSON list of strings or holds only blanks."""
    try:
        values = json.loads(text)
    except ValueError:
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return []
    return [value for value in values if value.strip()]


def _sampling(params: Params, answers: int, seed: int) -> Any:
    # Every field is given: what is left out would come from vLLM's defaults (max_tokens 16).
    module = import_module("vllm.sampling_params")
    length = {"minItems": params.sentences, "maxItems": params.sentences}
    schema = {"type": "array", "items": {"type": "string"}, **length}
    return module.SamplingParams(
        n=answers,
        temperature=params.temperature,
        top_p=params.top_p,
        max_tokens=params.max_tokens,
        seed=seed,
        # White space between tokens of the JSON can otherwise eat the whole budget.
        structured_outputs=module.StructuredOutputsParams(json=schema, disable_any_whitespace=True),
    )


def _load_vllm(devices: int) -> Any:
    if not torch.cuda.is_available() or torch.cuda.device_count() < devices:
        raise UserError(
            f"{WHERE}: needs {devices} CUDA device(s), torch sees {torch.cuda.device_count()}; "
            "run it on a GPU machine or set describe.backend to file"
        )
    # The engine in this process has a fixed schedule; set before vLLM reads its environment.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    try:
        return import_module("vllm")
    except ImportError as error:
        raise UserError(
            f"{WHERE}: vLLM cannot be imported ({error}); install it with `pip install -e .[vllm]`"
        ) from None


def _start(vllm: Any, params: Params, seed: int) -> Any:
    try:
        return vllm.LLM(
            model=params.model,
            revision=params.revision,
            tokenizer_revision=params.revision,
            trust_remote_code=False,
            generation_config="vllm",  # not the checkpoint's own sampling defaults
            seed=seed,
            **params.model_dump(include=ENGINE),
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        where = f"{WHERE}: vLLM cannot start {params.model} at revision {params.revision}"
        raise UserError(f"{where}: {reason}") from None


def _provenance(vllm: Any, llm: Any, params: Params, counts: dict[str, int]) -> dict[str, Any]:
    config = getattr(getattr(llm, "model_config", None), "hf_config", None)
    return {
        "model": params.model,
        "revision": params.revision,
        # What a branch name such as "main" stood for; None for a model in a local folder.
        "commit": getattr(config, "_commit_hash", None),
        "prompts": params.prompts,
        "prompts_sha256": digest(params.prompts),
        "sampling": params.model_dump(include=SAMPLING),
        "engine": params.model_dump(include=ENGINE),
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name(),
        "counts": counts,
    }

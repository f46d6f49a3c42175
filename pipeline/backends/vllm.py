"""Descriptions written by a language or vision-language model in vLLM's offline engine.

Every answer is a request of its own, and all of them share one continuous batch; each is
kept as soon as it is finished. JSON is enforced while decoding. With exemplars the message
shows the class's images first, or one of them, which needs a model that reads images.

A run that is not interrupted repeats its text on the same kind of device with the same vLLM. An
interrupted one asks for the rest in another batch: in bfloat16 or float16 that changes the last
bits of matrix products, and sampling then takes another word, on a CPU (measured: 4 of 14
answers) as on a GPU; `batch_invariant` on a GPU prevents it. What was generated is data, and no
later stage asks for it again. Written for vLLM 0.33; the CPU build of vLLM 0.32 serves to test it.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.common.bounds import MOST, Factor
from pipeline.common.errors import UserError, one_line
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.asking import (
    Keep,
    collect_answers,
    generation_provenance,
)
from pipeline.descriptions.flight import InFlight
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.messages import Query, answer_schema, message_content
from pipeline.descriptions.vllm_engine import (
    DECIDING,
    ENGINE,
    LOG_LEVEL,
    WHERE,
    EngineParams,
    check_folder,
    commit,
    load_vllm,
    provenance,
)

ASKS_MODEL = True
IN_FLIGHT = 2048  # requests the engine holds: more than it can run at once, few enough to render


class Params(EngineParams):
    """`describe.options.vllm`."""

    temperature: Factor
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=16, le=MOST)


def describe(task: Task, params: Params) -> Answers:
    """Up to prompts x `answers` x `sentences` sentences per class, source "vllm".

    Raises:
        UserError: no GPU, vLLM is missing, the model's folder is not whole or has no chat
            template, the engine cannot load the model, or a question does not fit it.
    """
    vllm = load_vllm(params)
    if params.is_local():
        check_folder(Path(params.model))
    try:
        return _generate(vllm, task, params)
    finally:
        # Without it, and with the engine still in a variable here, the weights would stay on
        # the GPU until the process ends.
        import_module("vllm.distributed").cleanup_dist_env_and_memory()


def _generate(vllm: Any, task: Task, params: Params) -> Answers:
    print(f"describe: vLLM loads {params.model} ({LOG_LEVEL}=INFO shows its log)", file=sys.stderr)
    llm = _start(vllm, params, task.seed, task.images_per_message)
    identity = params.model_dump(include=DECIDING) | {"weights": commit(llm)}
    sentences, statistics = collect_answers(
        task, params, "vllm", identity, partial(_send, llm, params)
    )
    return Answers(
        sentences, generation_provenance(task, params) | provenance(vllm, llm, params) | statistics
    )


def _start(vllm: Any, params: Params, seed: int, images: int) -> Any:
    where = f"{WHERE}: vLLM cannot start {params.model} at revision {params.revision}"
    if params.model.startswith((".", "/", "~")) and not Path(params.model).is_dir():
        raise UserError(f"{where}: there is no such folder")
    try:
        return vllm.LLM(
            model=params.model,
            revision=params.revision,
            tokenizer_revision=params.revision,
            trust_remote_code=False,
            generation_config="vllm",  # not the checkpoint's own sampling defaults
            seed=seed,
            # White space between tokens of the JSON can otherwise eat the whole budget; vLLM
            # ignores the wish when a request makes it.
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            **({"limit_mm_per_prompt": {"image": images}} if images else {}),
            **_cpu_settings(params),
            **params.model_dump(include=ENGINE),
        )
    except Exception as error:  # of any of the libraries that read a model
        raise UserError(f"{where}: {one_line(error, 400)}") from None


def _cpu_settings(params: Params) -> dict[str, Any]:
    """On a CPU a seeded request whose prompt is split over two steps stops the engine."""
    if not import_module("vllm.platforms").current_platform.is_cpu():
        return {}
    return {"enable_chunked_prefill": False, "max_num_batched_tokens": params.max_model_len}


def _send(
    llm: Any, params: Params, queries: Sequence[Query], keep: Keep
) -> Iterator[tuple[Query, Reply] | InFlight]:
    """Keep the engine's queue full; each reply as soon as its request is finished, and what is in
    flight before each step."""
    unsent, in_engine = list(reversed(queries)), dict[str, Query]()
    engine = llm.llm_engine
    yield InFlight(0, len(unsent))
    while unsent or in_engine:
        while unsent and len(in_engine) < IN_FLIGHT:
            query = unsent.pop()
            in_engine[_enqueue(llm, params, query)] = query
        running = _running(engine, len(in_engine))
        yield InFlight(running, len(in_engine) + len(unsent) - running)
        for output in engine.step():
            if output.finished:
                query, reply = in_engine.pop(output.request_id), _reply(output)
                keep(query, reply)
                yield query, reply


def _running(engine: Any, in_engine: int) -> int:
    """Requests that the next step works on: at most as many as one batch takes."""
    scheduler = getattr(getattr(engine, "vllm_config", None), "scheduler_config", None)
    return min(in_engine, getattr(scheduler, "max_num_seqs", in_engine))


def _enqueue(llm: Any, params: Params, query: Query) -> str:
    """Hand one request to the engine; the id that its output will carry."""
    message = [{"role": "user", "content": message_content(query)}]
    try:
        [request_id] = llm.enqueue_chat(message, _sampling(params, query.seed), use_tqdm=False)
    except (ValueError, RuntimeError, import_module("vllm.exceptions").VLLMError) as error:
        raise UserError(
            f"{WHERE}: {params.model} does not take question '{query.prompt_id}' about class "
            f"'{query.class_id}': {one_line(error, 400)}"
        ) from None
    return str(request_id).rpartition("-")[0]  # vLLM appends a random part for its own use


def _sampling(params: Params, seed: int) -> Any:
    # Every field is given: what is left out would come from vLLM's defaults (max_tokens 16).
    module = import_module("vllm.sampling_params")
    schema = answer_schema(params.sentences, bounded=True)
    return module.SamplingParams(
        n=1,
        temperature=params.temperature,
        top_p=params.top_p,
        max_tokens=params.max_tokens,
        seed=seed,
        structured_outputs=module.StructuredOutputsParams(json=schema),
        output_kind=module.RequestOutputKind.FINAL_ONLY,
    )


def _reply(output: Any) -> Reply:
    [answer] = output.outputs
    return Reply(
        answer.text,
        answer.finish_reason != "length",
        len(output.prompt_token_ids or ()),
        len(answer.token_ids),
    )

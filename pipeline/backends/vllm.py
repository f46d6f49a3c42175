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

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from pipeline.common.errors import UserError, one_line
from pipeline.common.tables import read_json
from pipeline.descriptions.answer_log import Reply
from pipeline.descriptions.asking import (
    Keep,
    collect_answers,
    generation_provenance,
)
from pipeline.descriptions.flight import InFlight
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.messages import Query, answer_schema, message_content
from pipeline.descriptions.model_folder import check_chat_template, check_model, model_hashes

ASKS_MODEL = True
WHERE = "describe.options.vllm"
NO_GPU = (
    "take descriptions that somebody made (`dvc pull stages/dvc.yaml:describe`), or let a server "
    "write them (describe.backend: openai)"
)
LOG_LEVEL = "VLLM_LOGGING_LEVEL"
IN_FLIGHT = 2048  # requests the engine holds: more than it can run at once, few enough to render
DECIDING = {"revision", "dtype"}  # what, besides question and sampling, decides an answer
ENGINE = {
    "dtype",
    "tensor_parallel_size",
    "gpu_memory_utilization",
    "max_model_len",
    "enforce_eager",
}


class Params(GenerationParams):
    """`describe.options.vllm`."""

    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=16)
    revision: str
    dtype: Literal["auto", "bfloat16", "float16", "float32"]
    tensor_parallel_size: int = Field(ge=1)
    gpu_memory_utilization: float = Field(gt=0, le=1)
    max_model_len: int = Field(ge=256)
    enforce_eager: bool
    batch_invariant: bool

    def model_identity(self) -> Any:
        """A model in a local folder is the content of its files, wherever they lie."""
        return model_hashes(Path(self.model)) if self.is_local() else self.model

    def is_local(self) -> bool:
        """Whether the model lies in a folder of this machine, and on no hub."""
        return Path(self.model).is_dir()


def describe(task: Task, params: Params) -> Answers:
    """Up to prompts x `answers` x `sentences` sentences per class, source "vllm".

    Raises:
        UserError: no GPU, vLLM is missing, the model's folder is not whole or has no chat
            template, the engine cannot load the model, or a question does not fit it.
    """
    vllm = _load_vllm(params)
    if params.is_local():
        _check_folder(Path(params.model))
    try:
        return _generate(vllm, task, params)
    finally:
        # Without it, and with the engine still in a variable here, the weights would stay on
        # the GPU until the process ends.
        import_module("vllm.distributed").cleanup_dist_env_and_memory()


def _generate(vllm: Any, task: Task, params: Params) -> Answers:
    print(f"describe: vLLM loads {params.model} ({LOG_LEVEL}=INFO shows its log)", file=sys.stderr)
    llm = _start(vllm, params, task.seed, task.images_per_message)
    identity = params.model_dump(include=DECIDING) | {"weights": _commit(llm)}
    sentences, statistics = collect_answers(
        task, params, "vllm", identity, partial(_send, llm, params)
    )
    return Answers(
        sentences, generation_provenance(task, params) | _provenance(vllm, llm, params) | statistics
    )


def _load_vllm(params: Params) -> Any:
    # The engine in this process has a fixed schedule; set before vLLM reads its environment.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault(LOG_LEVEL, "WARNING")
    if params.batch_invariant:
        os.environ["VLLM_BATCH_INVARIANT"] = "1"
    gpus = torch.cuda.device_count()
    missing = f"{WHERE}: needs {params.tensor_parallel_size} GPU(s), torch sees {gpus}; {NO_GPU}"
    try:
        vllm = import_module("vllm")
        on_cpu = import_module("vllm.platforms").current_platform.is_cpu()
    except (ImportError, OSError, RuntimeError) as error:
        if gpus < params.tensor_parallel_size:
            raise UserError(missing) from None
        raise UserError(
            f"{WHERE}: vLLM cannot be imported ({error}); install it with `pip install -e .[vllm]`"
        ) from None
    if not on_cpu and gpus < params.tensor_parallel_size:
        raise UserError(missing)
    return vllm


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


def _check_folder(folder: Path) -> None:
    """vLLM has templates of its own for some kinds of model that come without one."""
    check_model(folder)
    kind = read_json(folder / "config.json").get("model_type")
    if not _has_template_for(str(kind), str(folder)):
        check_chat_template(folder)


def _has_template_for(kind: str, model: str) -> bool:
    try:
        templates = import_module("vllm.transformers_utils.chat_templates")
        return templates.get_chat_template_fallback_path(kind, model) is not None
    except (ImportError, AttributeError, TypeError):  # of another version
        return False


def _model_config(llm: Any) -> Any:
    return getattr(getattr(llm, "model_config", None), "hf_config", None)


def _commit(llm: Any) -> str | None:
    """What the revision refers to now; None for a model in a local folder."""
    return getattr(_model_config(llm), "_commit_hash", None)


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


def _provenance(vllm: Any, llm: Any, params: Params) -> dict[str, Any]:
    # A folder's path says nothing to others: its name, and what its files hold.
    folder = Path(params.model).resolve()
    local = {"model": folder.name, "model_files": model_hashes(folder)} if params.is_local() else {}
    return local | {
        "revision": None if local else params.revision,
        # What a branch name such as "main" stood for; None for a model in a local folder.
        "commit": _commit(llm),
        "architecture": getattr(_model_config(llm), "architectures", None),
        "same_text_again": "interrupted or not" if params.batch_invariant else "uninterrupted only",
        "engine": params.model_dump(include=ENGINE | {"batch_invariant"}),
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "device": import_module("vllm.platforms").current_platform.get_device_name(),
    }

"""vLLM's engine: its parameters, its import, and what tells the model that it loads from others."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from pipeline.common.bounds import MOST, Few, PathText
from pipeline.common.errors import UserError
from pipeline.common.tables import read_json
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.model_folder import check_chat_template, check_model, model_hashes

WHERE = "describe.options.vllm"
NO_GPU = (
    "take descriptions that somebody made (`dvc pull stages/dvc.yaml:describe`), or let a server "
    "write them (describe.backend: openai)"
)
LOG_LEVEL = "VLLM_LOGGING_LEVEL"
DECIDING = {"revision", "dtype"}  # what, besides question and sampling, decides an answer
ENGINE = {
    "dtype",
    "tensor_parallel_size",
    "gpu_memory_utilization",
    "max_model_len",
    "enforce_eager",
}


class EngineParams(GenerationParams):
    """The keys of `describe.options.vllm` that say which model the engine loads, and how."""

    revision: PathText
    dtype: Literal["auto", "bfloat16", "float16", "float32"]
    tensor_parallel_size: Few
    gpu_memory_utilization: float = Field(gt=0, le=1)
    max_model_len: int = Field(ge=256, le=MOST)
    enforce_eager: bool
    batch_invariant: bool

    def model_identity(self) -> Any:
        """A model in a local folder is the content of its files, wherever they lie."""
        return model_hashes(Path(self.model)) if self.is_local() else self.model

    def is_local(self) -> bool:
        """Whether the model lies in a folder of this machine, and on no hub."""
        return Path(self.model).is_dir()


def load_vllm(params: EngineParams) -> Any:
    """Import vLLM, to run in this process.

    Raises:
        UserError: too few GPUs, or vLLM cannot be imported.
    """
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


def check_folder(folder: Path) -> None:
    """Check a local folder. vLLM has templates of its own for some kinds of model that come
    without one.

    Raises:
        UserError: the model is not whole, or has no chat template.
    """
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


def commit(llm: Any) -> str | None:
    """What the revision refers to now; None for a model in a local folder."""
    return getattr(_model_config(llm), "_commit_hash", None)


def provenance(vllm: Any, llm: Any, params: EngineParams) -> dict[str, Any]:
    """What provenance.json says of the engine and of the model that it has loaded."""
    # a folder's path says nothing to others: its name, and what its files hold
    folder = Path(params.model).resolve()
    local = {"model": folder.name, "model_files": model_hashes(folder)} if params.is_local() else {}
    return local | {
        "revision": None if local else params.revision,
        # What a branch name such as "main" stood for; None for a model in a local folder.
        "commit": commit(llm),
        "architecture": getattr(_model_config(llm), "architectures", None),
        "same_text_again": "interrupted or not" if params.batch_invariant else "uninterrupted only",
        "engine": params.model_dump(include=ENGINE | {"batch_invariant"}),
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "device": import_module("vllm.platforms").current_platform.get_device_name(),
    }

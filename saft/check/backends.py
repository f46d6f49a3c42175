"""Whether a backend that asks a model can do so: its key, its server, vLLM, GPUs and the model."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from pipeline.common.errors import UserError, listed
from pipeline.common.secrets import redacted
from pipeline.descriptions.model_folder import check_model
from pipeline.descriptions.server_params import base_urls
from saft.check.part import Part


def _openai(part: Part, options: Any) -> None:
    variable = options.api_key_env
    if variable and not os.environ.get(variable, "").strip():
        part.problems.append(
            f"describe.options.openai: environment variable {variable} is not set, which "
            "api_key_env names; export it"
        )
    urls = [redacted(url) for url in base_urls(options)]
    part.lines.append(f"the server at {listed(urls, 3)} is not asked now")


def _vllm(part: Part, options: Any) -> None:
    where, count = "describe.options.vllm", torch.cuda.device_count()
    if find_spec("vllm") is None:
        part.problems.append(
            f"{where}: vLLM is not installed: pip install -e .[vllm], or take descriptions that "
            "somebody made (`dvc pull stages/dvc.yaml:describe`), or describe.backend: openai"
        )
    if count < options.tensor_parallel_size:
        part.problems.append(
            f"{where}: needs {options.tensor_parallel_size} GPU(s), torch sees {count}; take "
            "descriptions that somebody made, or describe.backend: openai"
        )
    if not options.model.startswith((".", "/", "~")):
        part.lines.append(_hub_model(options))
    elif not Path(options.model).is_dir():
        part.problems.append(f"{where}: model: {options.model}: there is no such folder")
    else:
        try:
            check_model(Path(options.model))
        except UserError as error:
            part.problems.append(f"{where}: model: {error}")


def _hub_model(options: Any) -> str:
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(options.model, "config.json", revision=options.revision)
    cached = "in the cache" if isinstance(file, str) else "will be downloaded"
    return f"{options.model} at {options.revision}: {cached}"


# what more is known of a backend that asks a model
CHECK_BACKEND: dict[str, Callable[[Part, Any], None]] = {"openai": _openai, "vllm": _vllm}

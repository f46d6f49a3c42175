"""Published models: by open_clip's name and tag, or by repository of the Hugging Face hub, which
has the files of open_clip or those of the transformers library.

Weights and configs come from the cache of the hub or, on first use, from the network; only
the config is downloaded of a model that this pipeline cannot take.
"""

import warnings
from pathlib import Path
from typing import Any

import open_clip
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from pipeline.clip.config import CONFIG_FILE
from pipeline.common.bounds import PathText
from pipeline.common.errors import UserError, first_line
from pipeline.common.params import Section
from pipeline.models import transformers_config, whole
from pipeline.models.configs import check_layout, preprocessing, read_repository_config
from pipeline.models.interface import BaseModel, ModelCardOrigin

HUB = "hf-hub:"
# what open_clip raises where a config or its weights are wrong, and no network would help
CONTRADICTIONS = (TypeError, ValueError, LookupError, AttributeError, AssertionError, Warning)
OFFLINE = "download it once on a machine with network, or use source: local"


class HubParams(Section):
    """A published model; the keys of `pretrained`, and of what starts from one."""

    model: PathText
    """open_clip model name, e.g. ViT-B-32-quickgelu, or hf-hub:<organisation>/<repository>."""
    tag: PathText | None
    """open_clip pretrained tag, e.g. openai; null with hf-hub:, whose repository has one model."""
    cache_dir: PathText | None
    """Where weights are kept; null: the hub's default."""


def title(params: HubParams) -> str:
    """As messages and model cards name it: "ViT-B-32 / openai", "hf-hub:org/repository"."""
    return f"{params.model} / {params.tag}" if params.tag else params.model


def about(params: HubParams) -> ModelCardOrigin:
    """What a model card says of it, with the repository the weights come from; not loaded."""
    if params.model.startswith(HUB):
        repository = params.model.removeprefix(HUB)
    else:
        repository = (open_clip.get_pretrained_cfg(params.model, params.tag or "") or {}).get(
            "hf_hub", ""
        )
    return ModelCardOrigin(f"`{title(params)}` (open_clip)", repository.rstrip("/") or None)


def load(params: HubParams) -> BaseModel:
    """The model in float32 on the CPU, with its config.

    The activation follows the weights: `ViT-B-32` with OpenAI's builds the wrong one, and
    open_clip only warns. The config of a repository is taken as it is.

    Raises:
        UserError: no such name or tag, the files cannot be had, or a layout that this pipeline
            does not take.
    """
    if params.model.startswith(HUB):
        return _repository(params)
    config = tagged_config(params)
    check_layout(config["model_cfg"], title(params))
    return BaseModel(_create(params, config["model_cfg"]["quick_gelu"]), config)


def tagged_config(params: HubParams) -> dict[str, Any]:
    """{"model_cfg", "preprocess_cfg"} of a name and a tag; needs no network.

    Raises:
        UserError: open_clip has no such name, or no such tag for it.
    """
    config = open_clip.get_model_config(params.model)
    if config is None:
        raise UserError(f"open_clip has no model '{params.model}'")
    tags = open_clip.list_pretrained_tags_by_model(params.model)
    if params.tag not in tags:
        raise UserError(
            f"'{params.model}' has no tag '{params.tag}', only: {', '.join(tags) or 'none'}"
        )
    published = open_clip.get_pretrained_cfg(params.model, params.tag)
    quick = bool(published.get("quick_gelu", False) or config.get("quick_gelu", False))
    return {
        "model_cfg": {**config, "quick_gelu": quick},
        "preprocess_cfg": preprocessing(published),
    }


def check_untagged(params: HubParams) -> None:
    """Raise UserError if there is a tag for a model that has only one set of weights."""
    if params.tag is not None:
        raise UserError(
            f"model {params.model} has one set of weights, but tag is '{params.tag}'; set tag: null"
        )


def _repository(params: HubParams) -> BaseModel:
    """Of a repository with both layouts, open_clip's is taken."""
    check_untagged(params)
    what = title(params)
    try:
        config = read_repository_config(_download(params, CONFIG_FILE), what)
        names = whole.OPEN_CLIP
    except EntryNotFoundError as error:
        path = _fetch(params, transformers_config.CONFIG)
        if path is None and isinstance(error, LocalEntryNotFoundError):
            raise _not_to_be_had(params, error) from None
        if path is None:
            raise UserError(
                f"{what} cannot be used: it has neither {CONFIG_FILE} nor "
                f"{transformers_config.CONFIG}; choose another model"
            ) from None
        preprocessor = _fetch(params, transformers_config.PREPROCESSOR)
        config = transformers_config.read(path, preprocessor, what)
        names = whole.TRANSFORMERS
    check_layout(config["model_cfg"], what)
    weights = next(filter(None, (_fetch(params, name) for name in names)), None)
    if weights is None:
        raise UserError(f"cannot load {what}: it has none of {', '.join(names)}; {OFFLINE}")
    model = whole.build(config, weights, lambda name: _fetch(params, name), what)
    model.notes.extend(_contradiction(params.model.removeprefix(HUB), config["model_cfg"]))
    return model


def _contradiction(repository: str, model: dict[str, Any]) -> list[str]:
    """A remark if open_clip publishes a repository's weights with the other activation."""
    published = {
        bool(settings.get("quick_gelu", False))
        for name in open_clip.list_pretrained()
        if (settings := open_clip.get_pretrained_cfg(*name) or {})
        and settings.get("hf_hub", "").rstrip("/") == repository
    }
    quick = bool(model.get("quick_gelu", False))
    if published != {not quick}:
        return []
    return [
        f"its config has quick_gelu {str(quick).lower()}, open_clip publishes these weights with "
        f"{str(not quick).lower()}"
    ]


def _fetch(params: HubParams, name: str) -> Path | None:
    """A file of the repository, None where it has none or where it is not cached, offline."""
    try:
        return _download(params, name)
    except EntryNotFoundError:
        return None


def _download(params: HubParams, name: str) -> Path:
    repository = params.model.removeprefix(HUB)
    try:
        return Path(hf_hub_download(repository, name, cache_dir=params.cache_dir))
    except EntryNotFoundError:
        raise
    except Exception as error:  # the hub raises a dozen kinds, all meaning "not available"
        raise _not_to_be_had(params, error) from None


def _create(params: HubParams, quick_gelu: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*QuickGELU mismatch.*")
            # without weights, `create_model` gives a random model and a log line
            model = open_clip.create_model_from_pretrained(
                params.model,
                pretrained=params.tag,
                force_quick_gelu=quick_gelu,
                cache_dir=params.cache_dir,
                return_transform=False,
            )
    except CONTRADICTIONS as error:
        reason = first_line(error)[:200].rstrip(". ")
        raise UserError(
            f"cannot load {title(params)}: {reason}; config and weights contradict each other"
        ) from None
    except Exception as error:
        raise _not_to_be_had(params, error) from None
    return model.to(torch.float32)


def _not_to_be_had(params: HubParams, error: Exception) -> UserError:
    reason = first_line(error)[:200].rstrip(". ")
    return UserError(f"cannot load {title(params)}: {reason}; {OFFLINE}")

"""A published open_clip model by name and tag, e.g. ViT-B-32-quickgelu / openai.

The weights are downloaded by open_clip on first use (or found in its cache).
"""

import warnings
from typing import Any

import open_clip
import torch

from pipeline.base_models import BaseModel
from pipeline.clip import preprocess_config
from pipeline.errors import UserError
from pipeline.params import Section


class Params(Section):
    """`base_model.options.pretrained`."""

    model: str
    """open_clip model name, e.g. ViT-B-32-quickgelu."""
    tag: str
    """open_clip pretrained tag, e.g. openai."""
    cache_dir: str | None
    """Where weights are kept; null: the hub's default."""


def build(params: Params, dataset: str, seed: int, device: torch.device) -> BaseModel:
    """Load the model in float32.

    `ViT-B-32` with OpenAI's weights builds the wrong activation and open_clip only warns:
    here the activation follows the weights, and the exported config says so.

    Raises:
        UserError: unknown name or tag, or the weights cannot be had.
    """
    config = open_clip.get_model_config(params.model)
    if config is None:
        raise UserError(f"base_model: open_clip has no model '{params.model}'")
    if params.tag not in open_clip.list_pretrained_tags_by_model(params.model):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(params.model)) or "none"
        raise UserError(f"base_model: '{params.model}' has no tag '{params.tag}', only: {tags}")
    published = open_clip.get_pretrained_cfg(params.model, params.tag)
    quick = bool(published.get("quick_gelu", False) or config.get("quick_gelu", False))
    config = {**config, "quick_gelu": quick}
    return BaseModel(
        _create(params, quick),
        {
            "model_cfg": config,
            "preprocess_cfg": preprocess_config(published.get("mean"), published.get("std")),
        },
    )


def _create(params: Params, quick_gelu: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*QuickGELU mismatch.*")
            model, _, _ = open_clip.create_model_and_transforms(
                params.model,
                pretrained=params.tag,
                force_quick_gelu=quick_gelu,
                cache_dir=params.cache_dir,
            )
    except Exception as error:  # the hub raises a dozen kinds, all meaning "not to be had"
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"base_model: cannot load {params.model} / {params.tag}: {reason}; "
            "download it once on a machine with network, or use source: local"
        ) from None
    return model

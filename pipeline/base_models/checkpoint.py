"""The image encoder of a robust checkpoint of others, in the CLIP that it was trained from.

Text tower, logit scale, activation and normalisation are that CLIP's; every weight of the image
encoder is the checkpoint's, or the stage fails.
"""

from pathlib import Path
from typing import Any

import torch

from pipeline import clip
from pipeline.base_models import About, BaseModel, _hub, _visual
from pipeline.raw import locate

LOCAL = "local-dir:"


class Params(_hub.HubParams):
    """`base_model.options.checkpoint`."""

    file: str
    """The checkpoint; relative paths start at $SAFT_DATA, or data/raw without it."""
    model: str
    """As in `pretrained`, or local-dir:<open_clip folder>, where paths start likewise."""


def build(params: Params, dataset: str, seed: int, device: torch.device) -> BaseModel:
    """Load the CLIP in float32, then the checkpoint into its image encoder, strictly.

    Raises:
        UserError: the CLIP cannot be had, or the checkpoint is not one of its image encoder.
    """
    path = locate(params.file)
    state = _visual.read(path)
    base = _clip(params)
    visual: Any = base.model.visual
    _visual.load_strictly(visual, state, path, _hub.title(params))
    return base


def about(params: Params, dataset: str) -> About:
    """Names of the checkpoint and of the CLIP around it."""
    file = f"the image encoder of checkpoint `{Path(params.file).name}`"
    if params.model.startswith(LOCAL):
        return About(f"{file} in the open_clip folder `{Path(_folder(params)).name}`")
    outer = _hub.about(params)
    return About(f"{file} in {outer.text}", outer.hub_id)


def _clip(params: Params) -> BaseModel:
    if not params.model.startswith(LOCAL):
        return _hub.load(params)
    _hub.check_untagged(params)
    loaded = clip.load(locate(_folder(params)))
    return BaseModel(loaded.model, loaded.config)


def _folder(params: Params) -> str:
    return params.model.removeprefix(LOCAL)

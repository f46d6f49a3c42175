"""The image encoder of a robust checkpoint of others, in the CLIP that it was trained from.

Text tower, logit scale, activation and normalisation are that CLIP's; every weight of the image
encoder is the checkpoint's, or the stage fails.
"""

from pathlib import Path
from typing import Any

from pipeline.clip import model as clip
from pipeline.images.data_root import locate
from pipeline.models import hub, state_dicts
from pipeline.models.interface import BaseModel, ModelCardOrigin

LOCAL = "local-dir:"


class Params(hub.HubParams):
    """`models.<name>.options` with source: checkpoint."""

    file: str
    """The checkpoint; relative paths start at $SAFT_DATA, or data/raw without it."""
    model: str
    """As in `pretrained`, or local-dir:<open_clip folder>, where paths start likewise."""


def build(params: Params) -> BaseModel:
    """Load the CLIP in float32, then the checkpoint into its image encoder, strictly.

    Raises:
        UserError: the CLIP cannot be had, or the checkpoint is not one of its image encoder.
    """
    path = locate(params.file)
    state = state_dicts.read(path)
    base = _clip(params)
    visual: Any = base.model.visual
    state_dicts.load_strictly(visual, state, path, hub.title(params))
    return base


def about(params: Params) -> ModelCardOrigin:
    """Names of the checkpoint and of the CLIP around it."""
    file = f"the image encoder of checkpoint `{Path(params.file).name}`"
    if params.model.startswith(LOCAL):
        return ModelCardOrigin(f"{file} in the open_clip folder `{Path(_folder(params)).name}`")
    outer = hub.about(params)
    return ModelCardOrigin(f"{file} in {outer.text}", outer.hub_id)


def _clip(params: Params) -> BaseModel:
    if not params.model.startswith(LOCAL):
        return hub.load(params)
    hub.check_untagged(params)
    loaded = clip.load(locate(_folder(params)))
    return BaseModel(loaded.model, loaded.config)


def _folder(params: Params) -> str:
    return params.model.removeprefix(LOCAL)

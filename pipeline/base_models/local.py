"""An open_clip folder on disk: open_clip_config.json + open_clip_model.safetensors."""

from pathlib import Path

import torch

from pipeline import clip
from pipeline.base_models import BaseModel
from pipeline.params import Section


class Params(Section):
    """`base_model.options.local`."""

    path: str
    """The folder, absolute or relative to the project."""


def build(params: Params, dataset: str, seed: int, device: torch.device) -> BaseModel:
    """Load and check the folder; it is written again in this pipeline's own form."""
    loaded = clip.load(Path(params.path))
    return BaseModel(loaded.model, loaded.config)

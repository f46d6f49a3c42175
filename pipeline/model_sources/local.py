"""An open_clip folder on disk: open_clip_config.json + open_clip_model.safetensors."""

from pathlib import Path

from pipeline.clip import model as clip
from pipeline.common.params import Section
from pipeline.images.data_root import locate
from pipeline.models.interface import BaseModel, ModelCardOrigin


class Params(Section):
    """`models.<name>.options` with source: local."""

    path: str
    """The folder; relative paths start at $SAFT_DATA, or data/raw without it."""


def build(params: Params) -> BaseModel:
    """Load and check the folder; it is written again in this pipeline's own form."""
    loaded = clip.load(locate(params.path))
    return BaseModel(loaded.model, loaded.config)


def about(params: Params) -> ModelCardOrigin:
    """The folder's name, without the path to it."""
    return ModelCardOrigin(f"the open_clip folder `{Path(params.path).name}`")

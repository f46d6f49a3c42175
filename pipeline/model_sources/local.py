"""A whole CLIP in a folder on disk: the files of open_clip, or those of the transformers library.

open_clip: open_clip_config.json + open_clip_model.safetensors (or open_clip_pytorch_model.bin);
transformers: config.json + model.safetensors (or pytorch_model.bin, or either in several files).
"""

from pathlib import Path

from pipeline.common.bounds import PathText
from pipeline.images.data_root import locate
from pipeline.models import folders, named
from pipeline.models.interface import BaseModel, ModelCardOrigin
from pipeline.models.named import OriginParams


class Params(OriginParams):
    """`models.<name>.options` with source: local."""

    path: PathText
    """The folder; relative paths start at $SAFT_DATA, or data/raw without it."""


def build(params: Params) -> BaseModel:
    """Load and check the folder; it is written again in this pipeline's own form."""
    return named.compared(folders.load(locate(params.path)), params.origin, None)


def about(params: Params) -> ModelCardOrigin:
    """The folder's name, without the path to it."""
    return ModelCardOrigin(f"the CLIP folder `{Path(params.path).name}`")

"""A robust checkpoint of others, in the CLIP that it was trained from.

Of an image encoder's checkpoint, text tower, logit scale, activation and normalisation are that
CLIP's. A whole CLIP brings its text tower: where that is another, both towers are taken.
"""

from pathlib import Path

from pipeline.common.bounds import PathText
from pipeline.images.data_root import locate
from pipeline.models import (
    activation,
    checkpoints,
    hub,
    named,
    repository_files,
    state_dicts,
    towers,
    whole,
)
from pipeline.models.interface import BaseModel, ModelCardOrigin
from pipeline.models.named import LOCAL


class Params(hub.HubParams):
    """`models.<name>.options` with source: checkpoint."""

    file: PathText
    """The checkpoint, or a folder of the transformers library with one; relative paths start at
    $SAFT_DATA, or data/raw without it. Or hf-hub:<organisation>/<repository>/<file>."""
    model: PathText
    """As in `pretrained`, or local-dir:<folder as in `local`>, where paths start likewise."""
    key: str | None = None
    """Where in the file the weights are, e.g. state_dict_ema; null: the only ones that fit."""
    resize_positions: bool = False
    """Interpolate positional embeddings that are for another image size than the CLIP's."""


def build(params: Params) -> BaseModel:
    """Load the CLIP in float32, then every weight of the checkpoint into it.

    Raises:
        UserError: the CLIP cannot be had, or the checkpoint is none of it.
    """
    path = _path(params)
    content = state_dicts.read(path)
    base = named.load(params)
    what = hub.title(params)
    weights = checkpoints.find(content, params.key, base.model, path, what)
    probe = activation.probe(base.model)
    notes = [f"weights under {weights.key}, as key: says"] if params.key else []
    notes += towers.load(base.model, weights, path, what, resize=params.resize_positions)
    notes += activation.compare(base.model, probe, what)
    return BaseModel(base.model, base.config, notes=[*base.notes, *notes])


def _path(params: Params) -> Path:
    if params.file.startswith(hub.HUB):
        return repository_files.repository_file(params.file, params.cache_dir)
    return whole.weights_file(locate(params.file))


def about(params: Params) -> ModelCardOrigin:
    """Names of the checkpoint and of the CLIP around it."""
    file = f"checkpoint `{Path(params.file).name}`"
    if params.model.startswith(LOCAL):
        return ModelCardOrigin(
            f"{file} in the CLIP folder `{Path(params.model.removeprefix(LOCAL)).name}`"
        )
    outer = hub.about(params)
    return ModelCardOrigin(f"{file} in {outer.text}", outer.hub_id)

"""A CLIP by the name that options give it: of open_clip, of the hub, or a folder on disk."""

from pipeline.common.bounds import PathText
from pipeline.common.params import Section
from pipeline.images.data_root import locate
from pipeline.models import activation, folders, hub
from pipeline.models.interface import BaseModel

LOCAL = "local-dir:"


class OriginParams(Section):
    """What a source says of where its weights come from."""

    origin: PathText | None = None
    """The CLIP that it was fine-tuned from, e.g. ViT-L-14-quickgelu/openai, hf-hub:... or
    local-dir:...; with it, an activation that the config has wrong is found. null: not looked
    for."""


def load(params: hub.HubParams) -> BaseModel:
    """The CLIP in float32, on the CPU; folders start at the data root.

    Raises:
        UserError: it cannot be had, or is not one that this pipeline takes.
    """
    if not params.model.startswith(LOCAL):
        return hub.load(params)
    hub.check_untagged(params)
    return folders.load(locate(params.model.removeprefix(LOCAL)))


def compared(model: BaseModel, origin: PathText | None, cache_dir: str | None) -> BaseModel:
    """`model` with what its features say of its activation, beside those of its origin."""
    if origin is None:
        return model
    params = origin_params(origin, cache_dir)
    before = activation.probe(load(params).model)
    notes = activation.compare(model.model, before, hub.title(params))
    return BaseModel(model.model, model.config, notes=[*model.notes, *notes])


def origin_params(origin: str, cache_dir: str | None) -> hub.HubParams:
    """A model by the one word of `OriginParams`."""
    name, tag = origin, None
    if not origin.startswith((LOCAL, hub.HUB)):
        name, _, tag = origin.partition("/")
    return hub.HubParams(model=name, tag=tag, cache_dir=cache_dir)

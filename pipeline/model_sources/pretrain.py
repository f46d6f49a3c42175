"""A small CLIP that stage `pretrain` trained from scratch: an entry of section `pretrain`."""

from pydantic import Field

from pipeline.clip import model as clip
from pipeline.common.params import Section, validate
from pipeline.common.tables import read_json
from pipeline.models.interface import BaseModel, ModelCardOrigin
from pipeline.models.pretraining import FOLDER, ORIGIN


class Origin(Section):
    """origin.json, which stage `pretrain` writes: Markdown."""

    origin: str


class Params(Section):
    """`models.<name>.options` with source: pretrain."""

    training: str = Field(pattern=r"^[\w-]+$")
    """The entry of section `pretrain`."""


def build(params: Params) -> BaseModel:
    """Load what the stage wrote."""
    loaded = clip.load(FOLDER / params.training)
    return BaseModel(loaded.model, loaded.config)


def about(params: Params) -> ModelCardOrigin:
    """Size and training of the small model."""
    path = FOLDER / params.training / ORIGIN
    return ModelCardOrigin(validate(read_json(path), Origin, str(path)).origin)

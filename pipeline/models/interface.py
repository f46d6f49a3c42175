"""Where a model comes from, one file each; the file name is its `source`.

A source module has
    class Params(Section)                                  its keys under `options`
    def build(params, dataset, seed, device) -> BaseModel  dataset: the set `pretrain` reads
    def about(params, dataset) -> ModelCardOrigin          for model cards; loads nothing
What several sources share is in the other modules of this package.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import nn


class ModelCardOrigin(NamedTuple):
    """What a model card says of a base model, in Markdown; hub_id: the repository of the Hugging
    Face hub that its weights come from, where there is one."""

    text: str
    hub_id: str | None = None


@dataclass(frozen=True)
class BaseModel:
    """A model with the open_clip folder's config {"model_cfg", "preprocess_cfg"}; `log` holds
    the pretraining curve (step, loss), empty for a model that came ready; `notes` say in one
    sentence each what was found in the files and done with it."""

    model: nn.Module
    config: dict[str, Any]
    log: list[tuple[int, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

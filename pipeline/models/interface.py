"""Where a model comes from, one file each; the file name is `models.<name>.source`.

A source module has
    class Params(Section)                 its keys under `models.<name>.options`
    def build(params) -> BaseModel        in float32, on the CPU
    def about(params) -> ModelCardOrigin  for model cards; loads no weights
What several sources share is in the other modules of this package.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import nn


class ModelCardOrigin(NamedTuple):
    """What a model card says of where a model comes from, in Markdown; hub_id: the repository of
    the Hugging Face hub that its weights come from, where there is one."""

    text: str
    hub_id: str | None = None


@dataclass(frozen=True)
class BaseModel:
    """A model with the open_clip folder's config {"model_cfg", "preprocess_cfg"}; notes: what was
    done to its weights or is remarkable about them, for people."""

    model: nn.Module
    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)

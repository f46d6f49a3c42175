"""The base_model stage's parameters."""

from typing import Any

from pydantic import Field

from pipeline.common.params import Section


class BaseModelParams(Section):
    """Section `base_model` of params.yaml, where every key is explained."""

    source: str
    dataset: str
    seed: int = Field(ge=0, lt=2**31)
    options: dict[str, dict[str, Any]]

"""The describe stage's parameters."""

from typing import Any

from pydantic import Field

from pipeline.params import Section


class DescribeParams(Section):
    """Section `describe` of params.yaml, where every key is explained."""

    dataset: str
    backend: str
    seed: int = Field(ge=0, lt=2**31)
    options: dict[str, dict[str, Any]]

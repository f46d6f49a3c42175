"""Sampling and retries: what every backend that asks a model takes."""

from typing import Any

from pydantic import Field

from pipeline.common.params import Section


class GenerationParams(Section):
    """Keys of every backend that queries a model; null: a server's own setting."""

    model: str
    answers: int = Field(ge=1)
    sentences: int = Field(ge=1)
    # Above 0: greedy answers would all be equal, and a retry would fail the same way.
    temperature: float | None = Field(gt=0)
    top_p: float | None = Field(gt=0, le=1)
    max_tokens: int | None = Field(ge=16)
    retries: int = Field(ge=0)

    def model_identity(self) -> Any:
        """What tells the model from others in the log of answers: its name, where nothing
        better is known."""
        return self.model

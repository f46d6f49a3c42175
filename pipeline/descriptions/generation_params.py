"""Sampling and retries: what every backend that asks a model takes."""

from typing import Any

from pydantic import Field

from pipeline.common.bounds import MOST, Factor, Few, FewOrZero, PathText
from pipeline.common.params import Section


class GenerationParams(Section):
    """Keys of every backend that queries a model; null: a server's own setting."""

    model: PathText
    answers: Few
    sentences: Few
    # Above 0: greedy answers would all be equal, and a retry would fail the same way.
    temperature: Factor | None
    top_p: float | None = Field(gt=0, le=1)
    max_tokens: int | None = Field(ge=16, le=MOST)
    retries: FewOrZero

    def model_identity(self) -> Any:
        """What tells the model from others in the log of answers: its name, where nothing
        better is known."""
        return self.model

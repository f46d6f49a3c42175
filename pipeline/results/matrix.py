"""The lists of section evaluate that DVC makes stages of: what one names twice is one stage, whose
result would count twice."""

from collections.abc import Iterator, Sequence
from typing import Any

MATRIX = tuple(
    f"evaluate.{key}"
    for key in ("models", "datasets", "attacks", "texts", "epsilons_255", "checks.datasets")
)


def repetitions(key: str, values: Sequence[Any]) -> Iterator[str]:
    """A line for each value that the list `key` names more than once; 4 and 4.0 are one radius."""
    for value in dict.fromkeys(value for value in values if values.count(value) > 1):
        yield f"{key} names {value} {values.count(value)} times; once is enough"

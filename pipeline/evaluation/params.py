"""Section `evaluate` of params.yaml, which every stage that evaluates reads."""

from typing import Any, Literal

from pydantic import Field

from pipeline.clip.precision import Precision
from pipeline.common.bounds import Count, CountOrZero, Epsilon, Factor, Name, Seed
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.zeroshot.pgd_step import Norm


class EvaluateParams(Section):
    """Section `evaluate` of params.yaml, where every key is explained."""

    models: list[Name] = Field(min_length=1)
    datasets: list[Name] = Field(min_length=1)
    images: Count | None
    attacks: list[Name] = Field(min_length=1)
    texts: list[Name] = Field(min_length=1)
    attacker: Name
    norm: Norm
    epsilons_255: list[Epsilon] = Field(min_length=1)
    space: Literal["model", "native"]
    options: dict[str, dict[str, Any]]
    robust: Literal["any", "last"]
    last_images: CountOrZero
    batch_size: Count
    precision: Precision
    guard_band: Factor
    compile: bool
    examples: CountOrZero
    seed: Seed
    checks: dict[str, Any]
    strict: bool

    def epsilon_of(self, text: str) -> Epsilon:
        """The epsilon that is written as `text`: a folder's name, so that 4 is not 4.0.

        Raises:
            UserError: evaluate.epsilons_255 has none.
        """
        for epsilon in self.epsilons_255:
            if str(epsilon) == text:
                return epsilon
        raise UserError(f"evaluate.epsilons_255 has no {text}, only {self.epsilons_255}")

    @property
    def band(self) -> float:
        """The guard band in logits; 0 where the attack's own forward is the verdict's."""
        return self.guard_band if self.precision != "float32" or self.compile else 0.0

"""Section `finetune.validation`: accuracy on images that are not trained on, while training."""

from dataclasses import dataclass

from pipeline.common.bounds import Count, Name
from pipeline.common.params import Section
from pipeline.training.published import TrainingAttack
from pipeline.zeroshot.pgd_step import Norm


class ValidationParams(Section):
    """Section `finetune.validation` of params.yaml, where every key is explained."""

    dataset: Name
    images: Count | None
    every: Count
    steps: Count
    patience: Count | None
    keep_best: bool


@dataclass(frozen=True)
class Validation:
    """Section `finetune.validation` of one training. norm, epsilon_255, step_255: of the training
    attack; for a method without one of what `finetune.attack` says, null being TeCoA's."""

    dataset: str
    images: int | None
    every: int
    steps: int
    patience: int | None
    keep_best: bool
    norm: Norm
    epsilon_255: float
    step_255: float

    @property
    def attack(self) -> TrainingAttack:
        """PGD from a random start."""
        return TrainingAttack(
            norm=self.norm,
            epsilon_255=self.epsilon_255,
            step_255=self.step_255,
            steps=self.steps,
            momentum=0.0,
            random_start=True,
        )

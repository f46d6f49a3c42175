"""A training attack on texts of one's choice: `finetune.attack.texts`.

The attack ascends the cross-entropy of the true class over a text set, one classifier for each of
its K texts as SAFT's (`pipeline.zeroshot.ensemble`), in place of the method's own loss, at the
model's own logit scale. What the method descends stays.
"""

from torch import Tensor

from pipeline.clip.model import ImageEncoder
from pipeline.training.objective import (
    AttackLoss,
    BaseOutputs,
    Batch,
    MethodInputs,
    Objective,
    ObjectiveState,
    PerImage,
)
from pipeline.training.recipe import Recipe
from pipeline.zeroshot.ensemble import ensemble_cross_entropy, ensemble_logits


def attacked_on(objective: Objective, inputs: MethodInputs, recipe: Recipe) -> Objective:
    """The objective with the recipe's texts under attack; itself, where the recipe names none.

    Raises:
        UserError: training does not see that text set.
    """
    if recipe.attack is None or recipe.attack.texts is None:
        return objective
    texts = inputs.text_set(recipe.attack.texts, "finetune.attack.texts")
    return TextAttack(objective, texts, inputs.scale)


class TextAttack:
    """An objective whose attack is on other texts. texts: (C, K, D) unit norm."""

    def __init__(self, objective: Objective, texts: Tensor, scale: float) -> None:
        self.objective, self.texts, self.scale = objective, texts, scale

    @property
    def kept_per_image(self) -> tuple[PerImage, ...]:
        """As the method's own."""
        return self.objective.kept_per_image

    @property
    def base(self) -> BaseOutputs | None:
        """As the method's own."""
        return self.objective.base

    @property
    def attack_loss(self) -> AttackLoss | None:
        """The cross-entropy over the texts, mean over K, sum over images."""
        return self._cross_entropy

    def _cross_entropy(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        logits = ensemble_logits(encoder(images).pooled, self.texts, self.scale)
        return ensemble_cross_entropy(logits, batch.labels).sum()

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """As the method's own."""
        return self.objective.losses(encoder, images, batch)

    def after_step(self, batch: Batch, step: int) -> None:
        """As the method's own."""
        self.objective.after_step(batch, step)

    def state(self) -> ObjectiveState:
        """As the method's own."""
        return self.objective.state()

    def restore(self, state: ObjectiveState) -> None:
        """As the method's own."""
        self.objective.restore(state)

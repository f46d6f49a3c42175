"""What follows from the accuracies on a validation set: the best weights, and an early end.

Everything here is a function of the measured accuracies, so it is the same on every rank and after
a resumption.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pipeline.training import weights
from pipeline.training.saved_weights import SavedWeights
from pipeline.training.validation import ROBUST, Validator


class Monitor:
    """Validates a training as it goes on. best: the highest robust accuracy so far; best_step: the
    step after which it was measured, the earliest of equals; since: validations after that one
    that are not within the warm-up; kept: with keep_best the weights of then, else empty."""

    def __init__(self, validator: Validator | None, saved: SavedWeights, total: int) -> None:
        self.validator, self.saved, self.total = validator, saved, total
        self.best, self.best_step, self.since = -1.0, -1, 0
        self.kept: list[Tensor] = []

    def after_step(self, step: int) -> dict[str, float]:
        """Measure, every so many steps and after the last one: columns of the log; {} where
        nothing is measured."""
        if self.validator is None:
            return {}
        if (step + 1) % self.validator.params.every and step + 1 < self.total:
            return {}
        with self.saved.in_place():
            accuracies = self.validator.measure()
            self._note(step, accuracies[ROBUST])
        return accuracies

    def _note(self, step: int, robust: float) -> None:
        if robust <= self.best:
            self.since += step + 1 >= self.saved.recipe.warmup_steps
            return
        self.best, self.best_step, self.since = robust, step, 0
        if self.validator is not None and self.validator.params.keep_best:
            self._keep()

    def _keep(self) -> None:
        """Copy the weights, over those that were kept before."""
        if self.kept:
            weights.assign_(self.kept, self.saved.trained)
        else:
            self.kept = weights.copies(self.saved.trained)

    @property
    def stops(self) -> bool:
        """Whether `patience` validations since the warm-up had no better robust accuracy."""
        patience = self.validator.params.patience if self.validator else None
        return patience is not None and self.since >= patience

    def state(self) -> dict[str, Any]:
        """What to resume from: numbers and tensors."""
        numbers = {"best": self.best, "best_step": self.best_step, "since": self.since}
        return {**numbers, "kept": self.kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` was."""
        self.best, self.best_step = state["best"], state["best_step"]
        self.since = state["since"]
        kept: Sequence[Tensor] = state["kept"]
        self.kept = [
            value.to(weight.device)
            for value, weight in zip(kept, self.saved.trained, strict=bool(kept))
        ]

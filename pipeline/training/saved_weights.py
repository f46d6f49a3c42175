"""The weights that a training saves, made of those that it trains: averaged over the steps, mixed
with the base model's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from pipeline.clip.model import ImageEncoder
from pipeline.training import weights
from pipeline.training.lora import merge_lora, scale_lora
from pipeline.training.recipe import Recipe


class SavedWeights:
    """Of an encoder at its base weights. trained: its weights with gradients; average: of them
    over the steps so far; empty without `averaging`."""

    def __init__(self, encoder: ImageEncoder, recipe: Recipe) -> None:
        self.encoder, self.recipe = encoder, recipe
        self.trained = weights.trained(encoder)
        mixed = recipe.mix_alpha < 1 and recipe.lora is None
        self.base = weights.copies(self.trained) if mixed else []
        self.average = weights.copies(self.trained) if recipe.averaging else []

    def after_step(self) -> None:
        """Let the average follow a step of the optimiser."""
        if self.recipe.averaging:
            weights.average_(self.average, self.trained, self.recipe.averaging)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the encoder has the weights that would be saved; afterwards those of before, bit
        for bit, at the same addresses."""
        if not self.average and self.recipe.mix_alpha == 1:
            yield
            return
        kept = weights.copies(self.trained)
        self._write()
        if self.recipe.lora is not None:
            scale_lora(self.encoder, self.recipe.mix_alpha)
        try:
            yield
        finally:
            weights.assign_(self.trained, kept)

    def finish(self, best: Sequence[Tensor] = ()) -> None:
        """Leave what is saved in the encoder, as plain weights: `best`, a copy of `trained` inside
        `in_place`, or else what the last step gives."""
        alpha = self.recipe.mix_alpha
        if best:
            weights.assign_(self.trained, best)
        else:
            self._write()
        if self.recipe.lora is not None:
            merge_lora(self.encoder, 1.0 if best and alpha > 0 else alpha)

    def _write(self) -> None:
        """Average and mix; a low-rank difference is mixed by its scale."""
        if self.average:
            weights.assign_(self.trained, self.average)
        if self.recipe.lora is None:
            weights.mix_(self.trained, self.base, self.recipe.mix_alpha)

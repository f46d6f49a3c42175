"""Clean and robust accuracy on a validation set, measured during a training.

The images are classified zero-shot by the template among all classes that are trained on, and
attacked by PGD on the cross-entropy from a random start that follows from (seed, image batch): it
is the same each time, so that a curve shows the weights alone. What is measured are the weights
that would be saved: averaged and mixed, where they are.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from pipeline.clip.model import ImageEncoder
from pipeline.distributed.collectives import fill_blocks
from pipeline.distributed.ranks import rows_to_compute
from pipeline.images.streaming import Pixels, depth, prefetch
from pipeline.training.batches import make_batch
from pipeline.training.objective import Batch, MethodInputs
from pipeline.training.recipe import Recipe
from pipeline.training.template import TemplateAttack
from pipeline.training.training_attack import perturb_batch
from pipeline.training.validation_params import Validation

CLEAN, ROBUST = "validation_clean_accuracy", "validation_robust_accuracy"


class ValidationImages(NamedTuple):
    """pixels: uint8 (N, 3, S, S) of the whole set; labels: int64 (N,), numbers of the classes that
    are trained on; numbers: int64 (M,), the images that are measured on."""

    pixels: Pixels
    labels: np.ndarray
    numbers: np.ndarray


class Validator:
    """Measures the encoder of `inputs` on `images`, the same bits on every rank.

    Args:
        recipe: with a validation.
        aside: a context in which it measures, so that the cost of the training is without it.
    """

    def __init__(
        self,
        inputs: MethodInputs,
        images: ValidationImages,
        recipe: Recipe,
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        assert recipe.validation is not None
        self.inputs, self.images, self.aside = inputs, images, aside
        self.params: Validation = recipe.validation
        self.recipe = replace(recipe, attack=self.params.attack)
        self.objective = TemplateAttack(inputs.template, inputs.scale)

    def measure(self) -> dict[str, float]:
        """Shares, 0..1, of the images that are classified right: clean, and clean and after the
        attack."""
        with self.aside(), _uncompiled(self.recipe):
            right = torch.cat([self._right(*read) for read in self._batches()])
        clean, attacked = right.bool().unbind(1)
        shares = torch.stack([clean, clean & attacked]).cpu().double().mean(1).tolist()
        return dict(zip((CLEAN, ROBUST), shares, strict=True))

    def _batches(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(batch number, image numbers (B,), pixels of this rank's rows), as many images as in a
        training batch."""
        size, numbers, pixels = self.recipe.batch_size, self.images.numbers, self.images.pixels
        parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]

        def read(number: int) -> tuple[int, np.ndarray, np.ndarray]:
            index = parts[number]
            rows = rows_to_compute(len(index), self.inputs.ranks)
            return number, index, np.array(pixels[index[rows]])

        return prefetch(read, range(len(parts)), depth(pixels))

    def _right(self, number: int, index: np.ndarray, pixels: np.ndarray) -> torch.Tensor:
        """uint8 (B, 2): whether each image of the batch is right when clean, when attacked."""
        ranks, encoder = self.inputs.ranks, self.inputs.encoder
        device = self.inputs.texts.device
        batch = make_batch(index, pixels, self.images.labels, device)
        moved = perturb_batch(encoder, self.objective, batch, number, self.recipe, ranks=ranks)
        rows = rows_to_compute(len(index), ranks)
        right = torch.zeros(len(index), 2, dtype=torch.uint8, device=device)
        right[rows] = self._verdicts(encoder, moved, batch, rows)
        fill_blocks(right, ranks)
        return right

    @torch.no_grad()
    def _verdicts(
        self, encoder: ImageEncoder, moved: torch.Tensor, batch: Batch, rows: slice
    ) -> torch.Tensor:
        both = [
            self.objective.logits(encoder(images).pooled).argmax(1) == batch.labels[rows]
            for images in (batch.images, batch.images + moved)
        ]
        return torch.stack(both, 1).byte()


@contextmanager
def _uncompiled(recipe: Recipe) -> Iterator[None]:
    """Without compiled code: it would be made anew for other shapes, and the training go on with
    that."""
    if not recipe.compile:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield

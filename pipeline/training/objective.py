"""Fine-tuning methods, one file each; the file name is what `finetune.method` names.

A method module has
    TITLE: str                 the method's name as papers write it
    PUBLISHED: Published       how it was published; what null means in section `finetune`
    class Params(MethodParams) its keys under `finetune.options.<method>`
    def build(params, inputs) -> Objective
Mathematics that several methods share is in the other modules of `pipeline.training`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from pipeline.clip.model import ImageEncoder
from pipeline.common.bounds import Rate
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section
from pipeline.distributed.ranks import SINGLE, Ranks
from pipeline.images.streaming import Pixels
from pipeline.training.augmentation import Augmentation
from pipeline.zeroshot.text_tables import DESCRIPTIONS, TEMPLATE

WITHOUT_CAPTIONS = (
    f"{PARAMS_FILE}: finetune.captions has none, and the method trains on one of each image; name "
    "data/images/<set>/items.parquet, if the set has its own, or see docs/descriptions.md"
)


class Batch(NamedTuple):
    """images: (B, 3, S, S) float32 clean pixels in [0, 1]; labels, numbers: (B,) int64,
    class numbers and image numbers in the training set. Where several processes train together,
    `images` are this process's rows, all else is of the whole batch, and the encoder that `losses`
    is given turns the former into the features of the latter. The attack loss sees this process's
    rows of all; whole: image numbers of the whole batch, None where `numbers` are these; base: see
    `BaseOutputs`, None before `fill` and where that has nothing to add."""

    images: Tensor
    labels: Tensor
    numbers: Tensor
    whole: Tensor | None = None
    base: Tensor | None = None


class MethodInputs(NamedTuple):
    """What a method may look at before the first step.

    encoder: the image encoder, still at its base weights;
    texts: (C, K, D) and template: (C, D), float32 unit-norm features of the descriptions and
    of the text set "template"; others: (C, K, D) those of each text set of finetune.texts, by
    name; scale: exp(logit scale); captions: (N, D) float32 unit-norm features of the caption of
    each image, None where finetune.captions has none;
    pixels: uint8 (N, 3, S, S); labels: (N,) int64; both memory-mapped or in RAM;
    ranks: the processes that train together; seed: of what a method draws at random;
    augmentation: of the batches, see `pipeline.training.augmentation`.
    """

    encoder: ImageEncoder
    texts: Tensor
    template: Tensor
    scale: float
    pixels: Pixels
    labels: np.ndarray
    batch_size: int
    ranks: Ranks = SINGLE
    seed: int = 0
    others: Mapping[str, Tensor] = MappingProxyType({})
    augmentation: Augmentation = "none"
    captions: Tensor | None = None

    def image_captions(self) -> Tensor:
        """`captions`; UserError where there are none."""
        if self.captions is None:
            raise UserError(WITHOUT_CAPTIONS)
        return self.captions

    def text_set(self, name: str, key: str) -> Tensor:
        """(C, K, D) unit-norm features of a text set.

        Args:
            key: of params.yaml, which names it.

        Raises:
            UserError: training does not see it.
        """
        sets = {DESCRIPTIONS: self.texts, TEMPLATE: self.template[:, None], **self.others}
        if name not in sets:
            known = ", ".join(sets)
            raise UserError(
                f"{PARAMS_FILE}: {key}: training sees no text set '{name}', only {known}; "
                "add it to finetune.texts"
            )
        return sets[name]


AttackLoss = Callable[[ImageEncoder, Tensor, Batch], Tensor]


PerImage = Literal["patches", "classes", "width"]
ObjectiveState = dict[str, Any]


class BaseOutputs(Protocol):
    """What an objective asks of the base model about clean images, made by
    `frozen_features.base_outputs`."""

    @property
    def kept_per_image(self) -> tuple[PerImage, ...]:
        """As in `Objective`."""

    def fill(self, batch: Batch, ranks: Ranks = SINGLE) -> Batch:
        """The batch with what `of` needs: once per step, before the attack."""

    def of(self, batch: Batch) -> Tensor:
        """(B, ...) outputs for the rows of `batch.labels`, without a graph."""


class Objective(Protocol):
    """A training objective; texts are features already, nothing here encodes text."""

    @property
    def kept_per_image(self) -> tuple[PerImage, ...]:
        """What is stored of every training image, an element per tensor with a float32 row for
        each image: a number per patch of the image, per class, or per dimension of the joint
        space. For estimates of memory."""

    @property
    def base(self) -> BaseOutputs | None:
        """Outputs of the base model on clean images; None for a method that needs none."""

    @property
    def attack_loss(self) -> AttackLoss | None:
        """(encoder, images, batch) -> what the training attack ascends: a scalar, summed over
        the batch. None for a method that trains on clean images."""

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Scalars for the log, `loss` (the one to descend) among them. `images` are the
        adversarial ones, (B, 3, S, S) in [0, 1], detached from the attack; the clean ones
        where there is no attack."""

    def after_step(self, batch: Batch, step: int) -> None:
        """What the objective itself learns, after the encoder's step on `batch`; the last call of
        `losses` was of that step."""

    def state(self) -> ObjectiveState:
        """What `after_step` has changed so far: tensors, numbers, and containers of them."""

    def restore(self, state: ObjectiveState) -> None:
        """Take the place of an objective that was in this state."""


class FixedObjective:
    """The part of an objective that learns nothing itself, and keeps of the images what `base`
    does."""

    base: BaseOutputs | None = None

    @property
    def kept_per_image(self) -> tuple[PerImage, ...]:
        """Rows of the base model's outputs."""
        return self.base.kept_per_image if self.base else ()

    def after_step(self, batch: Batch, step: int) -> None:
        """Nothing to learn."""

    def state(self) -> ObjectiveState:
        """Nothing to keep."""
        return {}

    def restore(self, state: ObjectiveState) -> None:
        """Nothing to take up again."""


class MethodParams(Section):
    """What every method has under `finetune.options.<method>`; None: as published."""

    learning_rate: Rate | None

"""How methods were published: what null means in section `finetune`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.zeroshot.pgd_step import Norm

Optimiser = Literal["sgd", "adamw"]


@dataclass(frozen=True)
class TrainingAttack:
    """Projected gradient ascent on a method's attack loss. epsilon_255, step_255: radius and
    step in 1/255 of the pixel range; momentum: on normalised gradients, 0 for none;
    random_start: else from the clean image; texts: text set whose cross-entropy is ascended in
    place of the method's own loss."""

    norm: Norm
    epsilon_255: float
    step_255: float
    steps: int
    momentum: float
    random_start: bool
    texts: str | None = None


@dataclass(frozen=True)
class Published:
    """A method's published recipe. momentum: of SGD, the first beta of AdamW; attack: None
    for a method without one; captions: whether it trains on a caption of each image."""

    optimiser: Optimiser
    learning_rate: float
    momentum: float
    weight_decay: float
    epochs: int
    batch_size: int
    warmup_steps: int
    attack: TrainingAttack | None
    captions: bool = False


TWO_STEP_PGD = TrainingAttack(
    norm="linf", epsilon_255=1, step_255=1, steps=2, momentum=0, random_start=True
)  # the training attack of TeCoA and of those that follow its protocol
TECOA_PROTOCOL = Published(
    optimiser="sgd",
    learning_rate=1e-4,
    momentum=0.9,
    weight_decay=0.0,
    epochs=10,
    batch_size=128,
    warmup_steps=1000,
    attack=TWO_STEP_PGD,
)  # TGA-ZSR's and SAFT's; most methods differ from it in one or two values

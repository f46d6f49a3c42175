"""The recipe of one training: section `finetune`, with what was published where it says null."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.clip.precision import Precision
from pipeline.common.bounds import (
    Count,
    CountOrZero,
    Limit,
    Momentum,
    Name,
    PathText,
    Radius,
    Seconds,
    Seed,
    Share,
    Weight,
)
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section
from pipeline.embeddings.training_captions import NO_CAPTIONS
from pipeline.images.classes import NO_SET
from pipeline.training.augmentation import Augmentation
from pipeline.training.blocks import Blocks
from pipeline.training.lora import Lora, LoraParams
from pipeline.training.objective import WITHOUT_CAPTIONS, MethodParams
from pipeline.training.published import TWO_STEP_PGD, Optimiser, Published, TrainingAttack
from pipeline.training.validation_params import Validation, ValidationParams
from pipeline.zeroshot.pgd_step import Norm


class AttackParams(Section):
    """Section `finetune.attack`; None: as published."""

    norm: Norm
    epsilon_255: Radius | None
    step_255: Radius | None
    steps: Count | None
    momentum: Momentum | None
    random_start: bool | None
    texts: Name | None


class FinetuneParams(Section):
    """Section `finetune` of params.yaml, where every key is explained; None: as published."""

    dataset: Name
    texts: list[Name]
    captions: PathText
    method: Name
    options: dict[str, dict[str, Any]]
    optimiser: Optimiser | None
    momentum: Momentum | None
    weight_decay: Weight | None
    attack: AttackParams
    validation: ValidationParams
    epochs: Count | None
    batch_size: Count | None
    warmup_steps: CountOrZero | None
    mix_alpha: Share
    augmentation: Augmentation
    blocks: Blocks | None
    lora: LoraParams | None
    gradient_clip: Limit | None
    averaging: float | None = Field(gt=0, lt=1)
    precision: Precision
    compile: bool
    checkpoint_seconds: Seconds
    seed: Seed


@dataclass(frozen=True)
class Recipe:
    """Everything that, with images, texts and base model, decides what a training ends with.

    options: the method's own keys, without its learning rate; attack: None for a method that
    trains on clean images; validation: None where there is none; the other fields: see section
    `finetune` of params.yaml.
    """

    dataset: Name
    method: Name
    options: dict[str, Any]
    optimiser: Optimiser
    learning_rate: float
    momentum: float
    weight_decay: float
    attack: TrainingAttack | None
    epochs: int
    batch_size: int
    warmup_steps: int
    mix_alpha: float
    augmentation: Augmentation
    blocks: str | None
    lora: Lora | None
    gradient_clip: float | None
    averaging: float | None
    precision: Precision
    compile: bool
    seed: int
    validation: Validation | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def resolve(params: FinetuneParams, published: Published, options: MethodParams) -> Recipe:
    """Fill every null of `params` and the learning rate of `options` from `published`.

    Raises:
        UserError: a published value would be taken where it means something else: a learning
            rate with another optimiser, a radius with another norm; or the method trains on
            captions, and `params` has none.
    """
    if published.captions and Path(params.captions) == NO_CAPTIONS:
        raise UserError(WITHOUT_CAPTIONS)
    _check_optimiser(params, published, options)
    keys = ("optimiser", "momentum", "weight_decay", "epochs", "batch_size", "warmup_steps")
    filled = {key: _or_published(getattr(params, key), getattr(published, key)) for key in keys}
    taken = ("dataset", "method", "mix_alpha", "blocks", "gradient_clip", "averaging")
    taken += ("augmentation", "precision", "compile", "seed")
    return Recipe(
        **{key: getattr(params, key) for key in taken},
        **filled,
        options=options.model_dump(exclude={"learning_rate"}),
        lora=None if params.lora is None else Lora(**params.lora.model_dump()),
        learning_rate=_or_published(options.learning_rate, published.learning_rate),
        attack=published.attack and _attack(params.attack, published.attack),
        validation=_validation(params, published.attack),
    )


def _or_published(value: Any, published: Any) -> Any:
    return published if value is None else value


def _check_optimiser(params: FinetuneParams, published: Published, options: MethodParams) -> None:
    changed = params.optimiser not in (None, published.optimiser)
    values = {
        f"options.{params.method}.learning_rate": options.learning_rate,
        "weight_decay": params.weight_decay,
    }
    for key, value in values.items():
        if changed and value is None:
            raise UserError(
                f"{PARAMS_FILE}: finetune.{key} is null, but the published value belongs to "
                f"{published.optimiser}, not to {params.optimiser}; set it"
            )


def _attack(
    params: AttackParams, published: TrainingAttack, value: str = "the published value"
) -> TrainingAttack:
    """value: what a message calls a value of `published`."""
    for key in ("epsilon_255", "step_255"):
        if params.norm != published.norm and getattr(params, key) is None:
            raise UserError(
                f"{PARAMS_FILE}: finetune.attack.{key} is null, but {value} belongs to norm "
                f"{published.norm}, not to {params.norm}; set it"
            )
    overrides = {key: value for key, value in params.model_dump().items() if value is not None}
    return replace(published, **overrides)


def _validation(params: FinetuneParams, published: TrainingAttack | None) -> Validation | None:
    """The section with norm, radius and step size of the training attack; of a method without one
    those that section `attack` asks for, TeCoA's where it says null."""
    chosen = params.validation
    if chosen.dataset == NO_SET:
        return None
    if published is None:
        value = "TeCoA's value, which finetune.validation then takes,"
        attack = _attack(params.attack, TWO_STEP_PGD, value)
    else:
        attack = _attack(params.attack, published)
    return Validation(
        **chosen.model_dump(),
        norm=attack.norm,
        epsilon_255=attack.epsilon_255,
        step_255=attack.step_255,
    )

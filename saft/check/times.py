"""How long each stage will take: FLOPs over the device's speed, measured for half a second in
each precision.

    forward f, step of an attack a, descent d: FLOPs per image, see `vit`
    finetune   epochs x N x (steps x a + graph x d + plain x f) + setup x N x f
               + validations x images x (steps x a + 2 x f)
    evaluate   images x (f + iterates x a) of one model, if every image withstood
    check      the same with PGD at every radius and number of steps
    pretrain   steps x batch x 3 x (f + text)
    filter, embed, embed_training  texts x text
    seconds = FLOPs / (EFFICIENCY x measured matrix products per second, in the stage's precision)
prepare: pixels written x PIXEL_SECONDS / cores. All of it is right to a factor of two or so.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from pipeline.clip.folders import BASE, FINETUNED
from pipeline.clip.precision import Precision
from pipeline.common import registry
from pipeline.common.options import load_plugin
from pipeline.cost import vision_transformer as vit
from pipeline.cost.matrix_speed import matrix_flop, precisions
from pipeline.embeddings.training_captions import NO_CAPTIONS
from pipeline.soundness.measure import ChecksParams
from pipeline.training.batches import total_steps
from pipeline.training.blocks import block_range
from pipeline.training.recipe import Recipe
from pipeline.zeroshot.text_tables import DESCRIPTIONS, SAME, TEMPLATE
from saft.check import text_sets
from saft.check.plan import Plan
from saft.check.probe import EncoderPasses

# Share of the speed of large matrix products in the same precision. CUDA: a training step of
# ViT-B/32, batch 128, on an H100, tf32 before there were CUDA graphs (docs/performance.md); other
# models and cards were not measured. CPU: between the float32 training steps of
# docs/performance.md, 0.71, and docs/paper-scale.md, 0.41; bf16 is assumed.
EFFICIENCY: dict[str, dict[Precision, float]] = {
    "cuda": {"float32": 0.70, "tf32": 0.18, "bf16": 0.17},
    "cpu": {"float32": 0.50, "bf16": 0.50},
}
PIXEL_SECONDS = 1.5e-7  # decode and resize, per pixel and core, assumed: 7.5 ms at 224 x 224
SENTENCES = 10  # per class that a backend writes, where it is not known
MEASURE_SECONDS = 0.5


def speeds(device: torch.device) -> dict[Precision, float]:
    """FLOPs per second of matrix products on `device`, in each precision that it has."""
    return {name: matrix_flop(device, name, MEASURE_SECONDS) for name in precisions(device)}


def iterates(name: str, options: object) -> int:
    """Most steps of attack `name` on an image, restarts and targets included."""
    module = registry.load("pipeline.attacks", name, "evaluate.attacks")
    count = module.max_iterates(options)
    return module.LIBRARY_STEPS if count is None else count


def finetune_flop(encoder: vit.Vit, recipe: Recipe, passes: EncoderPasses, images: int) -> float:
    """FLOPs of the whole training."""
    steps = recipe.attack.steps if recipe.attack else 0
    per_image = (
        steps * vit.ascend_flop(encoder)
        + passes.graph * vit.descend_flop(encoder, block_range(recipe.blocks, encoder.layers))
        + passes.plain * vit.forward_flop(encoder)
    )
    return images * (recipe.epochs * per_image + passes.setup * vit.forward_flop(encoder))


def validation_flop(encoder: vit.Vit, recipe: Recipe, images: int, validated: int) -> float:
    """FLOPs of all validations of a training that is not stopped early.

    Args:
        images: of the training set; validated: of the validation set.
    """
    chosen = recipe.validation
    if chosen is None:
        return 0.0
    times = math.ceil(total_steps(images, recipe) / chosen.every)
    count = min(validated, chosen.images or validated)
    per_image = 2 * vit.forward_flop(encoder) + chosen.steps * vit.ascend_flop(encoder)
    return times * count * per_image


def evaluate_flop(encoder: vit.Vit, images: int, steps: int) -> float:
    """FLOPs of one model under one attack."""
    return images * (vit.forward_flop(encoder) + steps * vit.ascend_flop(encoder))


def check_steps(checks: ChecksParams, epsilon_255: float) -> int:
    """PGD steps on an image over all points of one stage `check`; a point that curve and ladder
    share is measured once.

    Args:
        epsilon_255: the first of section evaluate, the radius of the ladder of steps.
    """
    points = {(radius, checks.steps) for radius in checks.epsilons_255}
    points.add((checks.large_epsilon_255, checks.steps))
    ladder = (checks.steps // 4, checks.steps // 2, checks.steps, 2 * checks.steps)
    points |= {(epsilon_255, steps) for steps in ladder}
    pgd_starts = 1
    return sum(steps + pgd_starts for _, steps in points)


def stage_flop(plan: Plan, stage: str) -> float | None:
    """FLOPs of a stage; None where they are not known."""
    name, _, item = stage.partition("@")
    estimate = ESTIMATES.get(name)
    return estimate(plan, item) if estimate else None


def _finetune(plan: Plan, _: str) -> float | None:
    images = _images(plan, plan.recipe.dataset)
    encoder, recipe = plan.state(BASE).vit, plan.recipe
    if images is None:
        return None
    validated = _images(plan, recipe.validation.dataset) if recipe.validation else None
    return finetune_flop(encoder, recipe, plan.passes, images) + validation_flop(
        encoder, recipe, images, validated or 0
    )


def _check(plan: Plan, item: str) -> float | None:
    """`item` is <set>-<model>."""
    names = itertools.product(plan.checks.datasets, plan.evaluate.models)
    key = _named(names).get(item)
    if key is None:
        return None
    dataset, model = key
    count = min(plan.checks.images, _images(plan, dataset) or plan.checks.images)
    steps = check_steps(plan.checks, plan.evaluate.epsilons_255[0])
    return evaluate_flop(plan.state(model).vit, count, steps)


def _pretrain(plan: Plan, name: str) -> float | None:
    training = plan.trainings.get(name)
    config = training.config if training else None
    if training is None or config is None:
        return None
    pairs = training.params.steps * training.params.batch_size
    return 3 * pairs * (vit.forward_flop(vit.read(config)) + vit.text_flop(config))


def _filter(plan: Plan, _: str) -> float:
    described = plan.sets.get(plan.describe.dataset)
    classes = (described.classes if described else None) or 0
    return _text_flop(plan, BASE) * SENTENCES * classes


def _embed_training(plan: Plan, _: str) -> float:
    texts = DESCRIPTIONS, TEMPLATE, *plan.finetune.texts
    count = sum(text_sets.count(plan, name, plan.finetune.dataset) for name in texts)
    if Path(plan.finetune.captions) != NO_CAPTIONS:
        count += _images(plan, plan.finetune.dataset) or 0
    return _text_flop(plan, BASE) * count


def _embed(plan: Plan, item: str) -> float | None:
    """`item` is <model>-<text set>."""
    key = _named(itertools.product(plan.evaluate.models, plan.evaluate.texts)).get(item)
    if key is None:
        return None
    model, texts = key
    if model == FINETUNED and BASE in plan.evaluate.models:
        return 0.0  # texts are encoded once for every text tower
    return _text_flop(plan, model) * embedded(plan, texts)


def embedded(plan: Plan, texts: str) -> int:
    """Texts that a model encodes for a text set, those that the attacker sees among them."""
    attacker = plan.evaluate.attacker
    names = dict.fromkeys([texts] if attacker == SAME else [texts, attacker])
    datasets = dict.fromkeys([*plan.evaluate.datasets, *plan.checks.datasets])
    pairs = itertools.product(names, datasets)
    return sum(text_sets.count(plan, name, dataset) for name, dataset in pairs)


def _evaluate(plan: Plan, item: str) -> float | None:
    if item not in plan.evaluations:
        return None
    dataset, _, attack, _, model = plan.evaluations[item]
    images, params = _images(plan, dataset), plan.evaluate
    if images is None:
        return None
    _, options = load_plugin("pipeline.attacks", "evaluate", "attacks", attack, params.options)
    count = min(images, params.images or images)
    return evaluate_flop(plan.state(model).vit, count, iterates(attack, options))


def _named(parts: Iterable[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """By the item of a stage's name, of which every part may hold dashes too."""
    return {"-".join(names): names for names in parts}


ESTIMATES: dict[str, Callable[[Plan, str], float | None]] = {
    "pretrain": _pretrain,
    "filter": _filter,
    "embed_training": _embed_training,
    "embed": _embed,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "check": _check,
}


def _text_flop(plan: Plan, model: str) -> float:
    config = plan.state(model).config
    return vit.text_flop(config) if config else 0.0


def _images(plan: Plan, dataset: str) -> int | None:
    state = plan.sets.get(dataset)
    return state.images if state else None

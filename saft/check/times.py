"""How long each stage will take: FLOPs over the device's speed, measured for half a second in
each precision.

    forward f, step of an attack a, descent d: FLOPs per image, see `vit`
    finetune   epochs x N x (steps x a + graph x d + plain x f) + setup x N x f
    evaluate   2 models x images x (f + iterates x a), if every image withstood
    check      the same with PGD at every radius and number of steps
    pretrain   steps x batch x 3 x (f + text)
    filter, embed  texts x text
    seconds = FLOPs / (EFFICIENCY x measured matrix products per second, in the stage's precision)
prepare: pixels written x PIXEL_SECONDS / cores. All of it is right to a factor of two or so.
"""

import itertools
from collections.abc import Callable

import torch
from pipeline.embeddings.tables import templates_of

from pipeline.clip.precision import Precision
from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.cost import vision_transformer as vit
from pipeline.cost.matrix_speed import matrix_flop, precisions
from pipeline.model_sources import pretrain
from pipeline.soundness.measure import ChecksParams
from pipeline.training.recipe import Recipe
from pipeline.zeroshot.text_sets import DESCRIPTIONS
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
        + passes.graph * vit.descend_flop(encoder, recipe.last_blocks)
        + passes.plain * vit.forward_flop(encoder)
    )
    return images * (recipe.epochs * per_image + passes.setup * vit.forward_flop(encoder))


def evaluate_flop(encoder: vit.Vit, images: int, steps: int) -> float:
    """FLOPs of both models under one attack."""
    return 2 * images * (vit.forward_flop(encoder) + steps * vit.ascend_flop(encoder))


def check_steps(checks: ChecksParams, epsilon_255: float) -> int:
    """PGD steps on an image over all points of one stage `check`; a point that curve and ladder
    share is measured once.

    Args:
        epsilon_255: of section evaluate, the radius of the ladder of steps.
    """
    points = {(radius, checks.steps) for radius in checks.epsilons_255}
    points.add((checks.large_epsilon_255, checks.steps))
    ladder = (checks.steps // 4, checks.steps // 2, checks.steps, 2 * checks.steps)
    points |= {(epsilon_255, steps) for steps in ladder}
    pgd_starts = 1
    return sum(steps + pgd_starts for _, steps in points)


def text_count(plan: Plan) -> int:
    """Texts that `embed` encodes."""
    described = plan.sets.get(plan.describe.dataset)
    total = plan.filter.top_k * ((described and described.classes) or 0)
    for name, dataset in text_sets.in_use(plan):
        state = plan.sets.get(dataset)
        if name == DESCRIPTIONS or state is None:
            continue
        try:
            count = len(templates_of(name, dataset, plan.embed, state.templates or ("{}",)))
        except UserError:  # named among the text sets
            continue
        total += count * (state.classes or 0)
    return total


def stage_flop(plan: Plan, stage: str) -> float | None:
    """FLOPs of a stage; None where they are not known."""
    name, _, item = stage.partition("@")
    estimate = ESTIMATES.get(name)
    return estimate(plan, item) if estimate else None


def _finetune(plan: Plan, _: str) -> float | None:
    images = _images(plan, plan.recipe.dataset)
    return finetune_flop(plan.model.vit, plan.recipe, plan.passes, images) if images else None


def _check(plan: Plan, dataset: str) -> float:
    count = min(plan.checks.images, _images(plan, dataset) or plan.checks.images)
    return evaluate_flop(plan.model.vit, count, check_steps(plan.checks, plan.evaluate.epsilon_255))


def _base_model(plan: Plan, _: str) -> float | None:
    if plan.base_model.source != "pretrain":
        return None
    _, options = load_plugin(
        "pipeline.model_sources", "base_model", "source", "pretrain", plan.base_model.options
    )
    assert isinstance(options, pretrain.Params)
    pairs = options.steps * options.batch_size
    return 3 * pairs * (vit.forward_flop(plan.model.vit) + _text_flop(plan))


def _filter(plan: Plan, _: str) -> float:
    described = plan.sets.get(plan.describe.dataset)
    return _text_flop(plan) * SENTENCES * ((described.classes if described else None) or 0)


def _embed(plan: Plan, _: str) -> float:
    return _text_flop(plan) * text_count(plan)


def _evaluate(plan: Plan, item: str) -> float | None:
    """`item` is <set>-<attack>-<text set>, each of which may hold dashes too."""
    params = plan.evaluate
    names = itertools.product(params.datasets, params.attacks, params.texts)
    for dataset, attack, texts in names:
        if item == f"{dataset}-{attack}-{texts}":
            images = _images(plan, dataset)
            if images is None:
                return None
            _, options = load_plugin(
                "pipeline.attacks", "evaluate", "attacks", attack, params.options
            )
            count = min(images, params.images or images)
            return evaluate_flop(plan.model.vit, count, iterates(attack, options))
    return None


ESTIMATES: dict[str, Callable[[Plan, str], float | None]] = {
    "base_model": _base_model,
    "filter": _filter,
    "embed": _embed,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "check": _check,
}


def _text_flop(plan: Plan) -> float:
    return vit.text_flop(plan.model.config) if plan.model.config else 0.0


def _images(plan: Plan, dataset: str) -> int | None:
    state = plan.sets.get(dataset)
    return state.images if state else None

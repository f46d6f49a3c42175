"""Memory for training and for the attacks of the evaluation, against what there is.

    training = weights, gradients, optimiser, copies + B x (kept activations + transient)
with what autograd keeps of an image from `vit.saved_bytes`: in the training attack the whole
encoder, in the descent the trained blocks, times the images that the method encodes with a graph.
The larger of the two counts; both, where the attack is a CUDA graph that keeps its memory.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

import torch

from pipeline.clip import cuda_graph
from pipeline.clip.device import one_of_several
from pipeline.clip.folders import BASE
from pipeline.clip.precision import Precision
from pipeline.cost import vision_transformer as vit
from pipeline.training.blocks import block_range
from pipeline.training.recipe import Recipe
from saft.check.part import Part, size
from saft.check.plan import Plan
from saft.check.probe import EncoderPasses

NONE = range(0)  # of the blocks
RUNTIME = 7e8  # bytes of the CUDA context, or of the process with its libraries, assumed


class MemoryNeed(NamedTuple):
    """Bytes: fixed, and per image of a batch; batch: images at once."""

    fixed: float
    per_image: float
    batch: int

    @property
    def total(self) -> float:
        """Bytes at the peak."""
        return self.fixed + self.per_image * self.batch


def training_need(
    encoder: vit.Vit,
    recipe: Recipe,
    passes: EncoderPasses,
    images: int = 0,
    classes: int = 0,
    graphs: bool = False,
) -> MemoryNeed:
    """Peak of the fine-tuning loop.

    Args:
        images, classes: of the training set, for what a method keeps of every image.
        graphs: whether the attack is a CUDA graph (`pipeline.clip.cuda_graph`).
    """
    chosen = block_range(recipe.blocks, encoder.layers)
    rank = recipe.lora.rank if recipe.lora else None
    whole, trained = vit.weights(encoder), vit.trained_weights(encoder, chosen, rank)
    moments = 2 if recipe.optimiser == "adamw" else 1 if recipe.momentum else 0
    made = bool(recipe.averaging) + (recipe.mix_alpha < 1)
    copies = moments + 1 + made + _validation_copies(recipe)  # 1: the gradients
    row_lengths = {"patches": encoder.tokens - 1, "classes": classes, "width": encoder.output}
    rows = sum(row_lengths[row] for row in passes.kept_per_image) * images
    fixed = vit.FLOAT * (whole * (1 + passes.copies) + trained * copies + rows)
    fixed += _other_weights(encoder, recipe, encoder.layers - chosen.start)
    transient = vit.transient_bytes(encoder, recipe.precision)
    descent = passes.graph * (vit.saved_bytes(encoder, chosen, False, recipe.precision) + transient)
    attack = 0.0
    if recipe.attack is not None:
        attacked = NONE if _attacks_a_copy(recipe) else chosen  # whose weights have gradients
        attack = transient + vit.saved_bytes(encoder, attacked, True, recipe.precision)
    measured = 0.0
    if recipe.validation is not None:  # on the encoder itself, never as a graph
        measured = transient + vit.saved_bytes(encoder, NONE, True, recipe.precision)
    kept = attack + max(descent, measured) if graphs else max(descent, attack, measured)
    return MemoryNeed(RUNTIME + fixed, kept, recipe.batch_size)


def _validation_copies(recipe: Recipe) -> int:
    """Copies of the trained weights: the best ones, and those that averaged or mixed ones replace
    while they are measured."""
    if recipe.validation is None:
        return 0
    return recipe.validation.keep_best + (bool(recipe.averaging) or recipe.mix_alpha < 1)


def _attacks_a_copy(recipe: Recipe) -> bool:
    """As `pipeline.training.training_attack.attacked_copy` decides."""
    return recipe.attack is not None and (recipe.precision == "bf16" or recipe.compile)


def _other_weights(encoder: vit.Vit, recipe: Recipe, blocks: int) -> float:
    """Bytes of the frozen copy that is attacked, and of the trained matrices as autocast rounds
    them once per step."""
    number = vit.BLOCK_NUMBER[recipe.precision]
    rounded = number * vit.matrix_weights(encoder, blocks) if recipe.precision == "bf16" else 0
    return rounded + (_copy(encoder, recipe.precision) if _attacks_a_copy(recipe) else 0)


def _copy(encoder: vit.Vit, precision: Precision) -> float:
    """Bytes of the weights of `pipeline.clip.precision.frozen_copy`."""
    matrices = vit.matrix_weights(encoder, encoder.layers)
    return vit.FLOAT * (vit.weights(encoder) - matrices) + vit.BLOCK_NUMBER[precision] * matrices


def attack_need(encoder: vit.Vit, batch: int, precision: Precision = "float32") -> MemoryNeed:
    """Peak of an attack on a frozen encoder, one model at a time; in bf16 on a copy of it."""
    per_image = vit.saved_bytes(encoder, NONE, True, precision)
    per_image += vit.transient_bytes(encoder, precision)
    copy = 0 if precision == "float32" else _copy(encoder, precision)
    return MemoryNeed(RUNTIME + vit.FLOAT * vit.weights(encoder) + copy, per_image, batch)


def available(device: torch.device) -> tuple[float, str]:
    """Bytes that the device has to give, and its name: free ones of a GPU, all of the RAM."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0], torch.cuda.get_device_name(device)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "CPU"


def memory(plan: Plan) -> Part:
    """Part 7: training, and the evaluation of the largest of the models."""
    part, free_and_name = Part("memory"), available(plan.device)
    needs = dict(_attack_needs(plan))
    if plan.trains and _is_known(plan, BASE):
        _compare(part, "finetune.batch_size", _training_need(plan), *free_and_name)
    if needs:
        largest = max(needs, key=lambda name: needs[name].total)
        differ = len({need.total for need in needs.values()}) > 1
        model = f" for model '{largest}'" if differ else ""
        _compare(part, "evaluate.batch_size", needs[largest], *free_and_name, model)
        by_model = {name: need.total for name, need in needs.items()}
        part.values["evaluate.batch_size"]["bytes_by_model"] = by_model
    unknown = [name for name in plan.models if not _is_known(plan, name)]
    if remark := one_of_several(plan.device):
        part.lines.append(remark)
    if unknown:
        part.lines.append(
            f"not checked: {', '.join(unknown)}, of a config that is not known before the stage "
            "model@<name> has run"
        )
    part.lines.append(
        "estimate: weights, gradients, optimiser, copies + batch x (what autograd keeps + 2 T M)"
    )
    return part


def _is_known(plan: Plan, name: str) -> bool:
    return name in plan.models and plan.models[name].config is not None


def _attack_needs(plan: Plan) -> Iterator[tuple[str, MemoryNeed]]:
    params = plan.evaluate
    for name in params.models:
        if _is_known(plan, name):
            encoder = plan.models[name].vit
            yield name, attack_need(encoder, params.batch_size, params.precision)


def _training_need(plan: Plan) -> MemoryNeed:
    recipe, trained = plan.recipe, plan.sets.get(plan.recipe.dataset)
    images, classes = (trained.images or 0, trained.classes or 0) if trained else (0, 0)
    graphs = plan.device.type == "cuda" and cuda_graph.switched_on()
    return training_need(plan.models[BASE].vit, recipe, plan.passes, images, classes, graphs)


def _compare(
    part: Part, key: str, need: MemoryNeed, free: float, name: str, model: str = ""
) -> None:
    part.values[key] = {"bytes": need.total, "available": free}
    part.lines.append(
        f"{key} {need.batch}{model}: about {size(need.total)} = {size(need.fixed)} + {need.batch} "
        f"x {size(need.per_image)}; {name} has {size(free)}"
    )
    if need.total > free:
        part.problems.append(_too_much(key, need, free, name))


def _too_much(key: str, need: MemoryNeed, free: float, name: str) -> str:
    most = int((free - need.fixed) / need.per_image)
    blocks = ", or set finetune.blocks" if key.startswith("finetune") else ""
    advice = f"lower it to {most} or less{blocks}" if most >= 1 else "take a larger device"
    return f"{key} {need.batch} needs about {size(need.total)}, {name} has {size(free)}; {advice}"

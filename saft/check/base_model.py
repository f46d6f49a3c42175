"""The base model: where its weights come from, and whether images and recipe fit it."""

import contextlib
import io
from collections.abc import Iterator

from pipeline.cost import vision_transformer as vit
from saft.check.part import Part
from saft.check.plan import Plan


def base_model(plan: Plan) -> Part:
    """Part 5: the weights, and whether the images have the size that the model takes."""
    part = Part("base model")
    with contextlib.redirect_stderr(io.StringIO()):
        state = plan.model
    part.lines.append(state.remark)
    if state.problem:
        part.problems.append(state.problem)
        return part
    if state.config is None:
        return part
    encoder = state.vit
    part.lines.append(
        f"image encoder: {vit.weights(encoder) / 1e6:.1f} million weights, {encoder.layers} blocks "
        f"of width {encoder.width}, {encoder.tokens} tokens of {encoder.image_size} x "
        f"{encoder.image_size}"
    )
    part.values = {"weights": vit.weights(encoder), "flop": vit.forward_flop(encoder)}
    if {"finetune", "evaluate"} <= plan.sound:  # else part 1 says so
        part.problems += [*_wrong_sizes(plan, encoder), *_too_many_blocks(plan, encoder)]
    return part


def _wrong_sizes(plan: Plan, encoder: vit.Vit) -> Iterator[str]:
    """What `clip.check_fit` would refuse after all the preparing."""
    names = [plan.finetune.dataset]
    if plan.evaluate.space == "model":
        names += [*plan.evaluate.datasets, *plan.checks.datasets]
    for name in dict.fromkeys(names):
        if name in plan.sets and plan.sets[name].size not in (None, encoder.image_size):
            yield (
                f"prepare.sets.{name}.size is {plan.sets[name].size}, the model takes "
                f"{encoder.image_size} x {encoder.image_size} pixels; set it to "
                f"{encoder.image_size}"
            )


def _too_many_blocks(plan: Plan, encoder: vit.Vit) -> Iterator[str]:
    """What `train_last_blocks` would refuse."""
    last = plan.finetune.last_blocks
    if last is not None and last > encoder.layers:
        yield f"{plan.file}: finetune.last_blocks is {last}, the image encoder has {encoder.layers}"

"""The models: where their weights come from, and whether images and recipe fit them."""

import contextlib
import io
from collections.abc import Iterator

from pipeline.clip.folders import BASE, FINETUNED
from pipeline.common.errors import listed
from pipeline.cost import vision_transformer as vit
from pipeline.models.params import ModelParams
from pipeline.training.blocks import too_many
from saft.check.model_state import ModelState
from saft.check.part import Part
from saft.check.plan import Plan

SHOWN = 4
DEFENDED: dict[bool | str, str] = {
    True: "defended",
    False: "not defended",
    "unknown": "not known whether defended",
}


def models(plan: Plan) -> Part:
    """Part 5: the weights of every model that is needed, and whether the images have the size that
    it takes."""
    part = Part("models")
    with contextlib.redirect_stderr(io.StringIO()):
        states = plan.models
    for name, state in states.items():
        params = plan.model_params.get(name)
        part.lines += _lines(name, state, params)
        part.values[name] = _values(state)
        if state.problem:
            part.problems.append(f"{state.problem}{_citation(params)}")
    absent = [name for name, state in states.items() if state.problem or state.downloads]
    if absent:
        part.lines.append(
            f"{len(absent)} of {len(states)} models are not there: {', '.join(absent)}"
        )
    if {"finetune", "evaluate"} <= plan.sound:  # else part 1 says so
        part.problems += [*_wrong_sizes(plan), *_too_many_blocks(plan)]
    return part


def _lines(name: str, state: ModelState, params: ModelParams | None) -> Iterator[str]:
    remark = state.remark.removeprefix(f"models.{name}: ")
    yield f"{name:24}{remark}"
    if params is not None:
        licence = f"licence: {params.licence or 'not known'}{_citation(params)}"
        yield f"{'':24}{DEFENDED[params.defended]}; {licence}"
    if state.config is not None and name != FINETUNED:
        encoder = state.vit
        yield (
            f"{'':24}image encoder: {vit.weights(encoder) / 1e6:.1f} million weights, "
            f"{encoder.layers} blocks of width {encoder.width}, {encoder.tokens} tokens of "
            f"{encoder.image_size} x {encoder.image_size}"
        )


def _citation(params: ModelParams | None) -> str:
    return f"; from: {params.citation}" if params is not None and params.citation else ""


def _values(state: ModelState) -> dict[str, float | bool]:
    values: dict[str, float | bool] = {"there": not (state.problem or state.downloads)}
    if state.config is not None:
        values |= {"weights": vit.weights(state.vit), "flop": vit.forward_flop(state.vit)}
    return values


def _wrong_sizes(plan: Plan) -> Iterator[str]:
    """What `clip.check_fit` would refuse after all the preparing, a line for each model."""
    trained = [plan.finetune.dataset, plan.finetune.validation.dataset]
    read = {BASE: trained} if plan.trains else {}
    if plan.evaluate.space == "model":
        for name in plan.evaluate.models:
            of_base = BASE if name == FINETUNED else name
            evaluated = [*plan.evaluate.datasets, *plan.checks.datasets]
            read[of_base] = [*read.get(of_base, []), *evaluated]
    sides = {name: plan.models[name].vit.image_size for name in read if _is_known(plan, name)}
    for name, side in sides.items():
        packed = {
            dataset: plan.sets[dataset].size for dataset in read[name] if dataset in plan.sets
        }
        wrong = [dataset for dataset, size in packed.items() if size not in (None, side)]
        if wrong:
            more = f"; likewise {listed(wrong[1:], SHOWN)}" if wrong[1:] else ""
            native = ", or evaluate.space: native" if len(set(sides.values())) > 1 else ""
            yield (
                f"prepare.sets.{wrong[0]}.size is {packed[wrong[0]]}, model '{name}' takes "
                f"{side} x {side} pixels; set it to {side}{native}{more}"
            )


def _is_known(plan: Plan, name: str) -> bool:
    return name in plan.models and plan.models[name].config is not None


def _too_many_blocks(plan: Plan) -> Iterator[str]:
    """What `train_blocks` would refuse."""
    if not plan.trains or not _is_known(plan, BASE):
        return
    if problem := too_many(plan.finetune.blocks, plan.models[BASE].vit.layers):
        yield problem

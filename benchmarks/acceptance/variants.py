"""The variants of the image encoder that are measured against each other.

A name is a precision (float32, tf32, bf16), followed by `+compile` where the blocks go through
torch.compile: what section `finetune` of params.yaml offers, by the pipeline's own code, with
CUDA graphs where that has them. `bf16 eager` goes without them; `unfused` is float32 through
open_clip's own layers, without `pipeline.clip.fused`.
"""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.acceptance.context import Context
from benchmarks.project import Project
from benchmarks.setting import Scene, Setting
from pipeline.clip.cuda_graph import VARIABLE
from pipeline.clip.precision import Precision
from pipeline.cost.matrix_speed import precisions

REFERENCE, UNFUSED, FAST, EAGER = "float32", "unfused", "bf16", "bf16 eager"
VARIANTS = (FAST, EAGER, "bf16+compile", REFERENCE, "tf32", UNFUSED)  # a budget may end early
SECONDS, COMPILE_SECONDS = 20, 50  # of the budget that must be left for another variant


def measured(context: Context) -> list[str]:
    """The variants that were chosen and that the device can run; on CUDA only the compiled ones,
    which may pay there, and the one without graphs, which others have there."""
    possible = [
        name
        for name in VARIANTS
        if precision(name) in precisions(context.device)
        and (context.cuda or not (compiled(name) or name == EAGER))
    ]
    return [name for name in possible if not context.chosen or name in context.chosen]


def precision(variant: str) -> Precision:
    """In what the blocks of a variant compute."""
    named: Any = variant.removesuffix(" eager").split("+")[0]
    return "float32" if named == UNFUSED else named


def compiled(variant: str) -> bool:
    """Whether the blocks are compiled."""
    return variant.endswith("+compile")


def seconds(variant: str) -> int:
    """Of the budget that must be left for it."""
    return COMPILE_SECONDS if compiled(variant) else SECONDS


@contextmanager
def environment(variant: str) -> Iterator[None]:
    """What a variant is built and run in: without CUDA graphs, or as the user's has it."""
    before = os.environ.get(VARIABLE)
    if variant == EAGER:
        os.environ[VARIABLE] = "0"
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def build(scene: Scene, setting: Setting, variant: str) -> Project:
    """A project of its own for a variant, at the same weights for each; the scene stays as it
    is."""
    copied = copy.deepcopy(scene)
    visual = copied.base.model.visual
    plain = copy.deepcopy(visual) if variant == UNFUSED else None
    project = Project(copied, setting, precision(variant), compiled(variant))
    if plain is not None:
        plain.output_tokens = True
        plain.load_state_dict(visual.state_dict())
        project.encoder.visual = plain.to(project.encoder.mean.device)
        project.begin()
    return project

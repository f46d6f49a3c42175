"""The variants of the image encoder that are measured against each other.

A name is a precision (float32, tf32, bf16), followed by `+compile` where the blocks go through
torch.compile: what section `finetune` of params.yaml offers, by the pipeline's own code.
`unfused` is float32 through open_clip's own layers, without `pipeline.clip.fused`.
"""

import copy
from typing import Any

import torch

from benchmarks.project import Project
from benchmarks.setting import Scene, Setting
from pipeline.clip.precision import Precision
from pipeline.cost.matrix_speed import precisions

REFERENCE, UNFUSED, FAST = "float32", "unfused", "bf16"
VARIANTS = (REFERENCE, UNFUSED, "tf32", FAST, "bf16+compile")


def measured(device: torch.device) -> list[str]:
    """The variants that a device can run; compiled ones on CUDA only, where they may pay."""
    return [
        name
        for name in VARIANTS
        if precision(name) in precisions(device) and (device.type == "cuda" or not compiled(name))
    ]


def precision(variant: str) -> Precision:
    """In what the blocks of a variant compute."""
    named: Any = variant.split("+")[0]
    return "float32" if named == UNFUSED else named


def compiled(variant: str) -> bool:
    """Whether the blocks are compiled."""
    return variant.endswith("+compile")


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

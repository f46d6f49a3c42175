"""Weights of an open_clip CLIP under the names of transformers' CLIPModel.

`pipeline.models.layouts` has the names, by which the pipeline loads such files; a whole model that
is written must have all of them and no other.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from pipeline.common.errors import UserError, listed
from pipeline.models import layouts

SHOWN = 3


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an open_clip CLIP for CLIPModel, float32, none sharing memory.

    Raises:
        UserError: a weight has no counterpart in transformers' CLIP, or one of its is not there.
    """
    weights = {key.removeprefix(layouts.CUSTOM_TEXT): v.float() for key, v in state.items()}
    _check_names(weights)
    renamed = layouts.transformers(weights).revert(weights)
    renamed["logit_scale"] = renamed["logit_scale"].reshape(())
    return {
        key: value.clone(memory_format=torch.contiguous_format) for key, value in renamed.items()
    }


def _check_names(names: Iterable[str]) -> None:
    """Raise UserError unless the weights are all of CLIPModel's and no others."""
    expected = layouts.all_in_transformers(names)
    foreign = [name for name in names if name not in expected]
    missing = sorted(expected - set(names))
    if foreign:
        raise UserError(
            f"transformers' CLIP has no place for {len(foreign)} of the model's weights "
            f"({listed(foreign, SHOWN)}); use --format open_clip"
        )
    if missing:
        raise UserError(
            f"transformers' CLIP has {len(missing)} weights that the model has not "
            f"({listed(missing, SHOWN)}); use --format open_clip"
        )

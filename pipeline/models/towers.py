"""Weights of others put into a CLIP: the image encoder alone, or both towers with it."""

import math
from pathlib import Path
from typing import Any

import torch
from open_clip.model import resize_pos_embed
from torch import Tensor

from pipeline.common.errors import UserError, listed
from pipeline.models.checkpoints import POSITIONS, Weights
from pipeline.models.layouts import LOGITS, VISUAL, State

SHOWN = 3


def load(model: Any, weights: Weights, path: Path, what: str, *, resize: bool) -> list[str]:
    """Put a file's weights into `model`, an open_clip CLIP in float32, every one of them.

    A text half that is the CLIP's own, in the precision of the file, leaves the CLIP's in place.

    Args:
        path: the file, for messages; what: the CLIP's name.
        resize: interpolate positional embeddings of another grid.

    Returns:
        What was found and done, one sentence each.

    Raises:
        UserError: weights are not finite, or positions are of another grid and not to be resized.
    """
    state = dict(weights.state)
    notes = _resize_positions(state, model, path, what, resize)
    outer = model.state_dict()
    differing = [
        name
        for name, value in state.items()
        if not name.startswith(VISUAL) and not _same(value, outer[name])
    ]
    if weights.layout.whole and differing:
        notes.append(_own_text(differing, state, outer, what))
    elif weights.layout.whole:
        notes.append(f"a whole CLIP, whose text half is that of {what}")
        state = {name: value for name, value in state.items() if name.startswith(VISUAL)}
    put(model, state, path)
    return notes


def put(model: Any, state: State, path: Path) -> None:
    """Put weights under open_clip's names into `model`, in float32; other weights stay.

    Raises:
        UserError: weights are not finite.
    """
    _check_finite(state, path)
    outer = model.state_dict()
    loaded = {name: value.float().reshape(outer[name].shape) for name, value in state.items()}
    model.load_state_dict({**outer, **loaded}, strict=True)


def _check_finite(state: State, path: Path) -> None:
    broken = [
        name.removeprefix(VISUAL) for name, value in state.items() if not value.isfinite().all()
    ]
    if broken:
        raise UserError(
            f"{path}: {len(broken)} weights are not finite ({listed(broken, SHOWN)}); "
            "choose another checkpoint"
        )


def _resize_positions(state: State, model: Any, path: Path, what: str, resize: bool) -> list[str]:
    """Interpolate the image encoder's positions in `state` to the grid of `model`, if asked."""
    count, rows = len(state[POSITIONS]), model.visual.grid_size[0]
    if count == len(model.visual.positional_embedding):
        return []
    side = math.isqrt(count - 1)
    grids = f"a grid of {side} x {side} patches, {what} has {rows} x {rows}"
    if side * side != count - 1:
        raise UserError(f"{path}: {count} positional embeddings are no class token and a square")
    if not resize:
        raise UserError(
            f"{path}: its positional embeddings are for {grids}; set resize_positions: true to "
            "interpolate them, or name a CLIP of its image size in model:"
        )
    state[POSITIONS] = state[POSITIONS].float()
    resize_pos_embed(state, model)
    return [f"positional embeddings interpolated (bicubic): they were for {grids}"]


def _same(value: Tensor, outer: Tensor) -> bool:
    """Whether a file has the CLIP's weight, rounded to the precision of the file."""
    return torch.equal(value.reshape(outer.shape), outer.to(value.dtype))


def _own_text(differing: list[str], state: State, outer: State, what: str) -> str:
    """How the text half differs from the CLIP's, and that it was loaded."""
    scales = [name for name in differing if name in LOGITS]
    towers = [name for name in differing if name not in LOGITS]
    parts = []
    if towers:
        most = max((state[n].float() - outer[n]).abs().max().item() for n in towers)
        parts.append(f"{len(towers)} weights of the text tower, by up to {most:.3g}")
    if scales:
        parts += [
            f"{name} {state[name].item():.4g} for {outer[name].item():.4g}" for name in scales
        ]
    return (
        f"a whole CLIP, whose text half differs from that of {what} ({'; '.join(parts)}): both "
        "towers and the logit scale are the checkpoint's"
    )

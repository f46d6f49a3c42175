"""Weights of an open_clip CLIP under the names of transformers' CLIPModel, and back.

The two layouts hold the same numbers. Attention's one matrix of queries, keys and values becomes
three, the two projections are transposed, everything else has only another name:

    visual.transformer.resblocks.0.attn.in_proj_weight (3 W, W) ->
        vision_model.encoder.layers.0.self_attn.{q,k,v}_proj.weight, (W, W) each
    visual.proj (W, D) -> visual_projection.weight (D, W)
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pipeline.common.errors import UserError, listed

TRANSPOSED = {
    "visual.proj": "visual_projection.weight",
    "text_projection": "text_projection.weight",
}
TOWERS = {  # the blocks of a tower, here and there
    "visual.transformer.resblocks": "vision_model.encoder.layers",
    "transformer.resblocks": "text_model.encoder.layers",
}
WEIGHT, WEIGHT_AND_BIAS = ("",), (".weight", ".bias")
OUTSIDE_BLOCKS = [
    ("logit_scale", "logit_scale", WEIGHT),
    ("visual.class_embedding", "vision_model.embeddings.class_embedding", WEIGHT),
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight", WEIGHT),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight", WEIGHT),
    ("visual.ln_pre", "vision_model.pre_layrnorm", WEIGHT_AND_BIAS),  # sic
    ("visual.ln_post", "vision_model.post_layernorm", WEIGHT_AND_BIAS),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight", WEIGHT),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight", WEIGHT),
    ("ln_final", "text_model.final_layer_norm", WEIGHT_AND_BIAS),
]
IN_BLOCK = [
    ("ln_1", "layer_norm1"),
    ("attn.out_proj", "self_attn.out_proj"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
]
STACKED = ("q_proj", "k_proj", "v_proj")  # the order in attn.in_proj_weight
CUSTOM_TEXT = "text."  # open_clip's later class of models has its text tower under this prefix
SHOWN = 3


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an open_clip CLIP for CLIPModel, float32, none sharing memory.

    Raises:
        UserError: a weight has no counterpart in transformers' CLIP, or one of its is not there.
    """
    weights = {key.removeprefix(CUSTOM_TEXT): value.float() for key, value in state.items()}
    blocks = block_names(weights, TOWERS)
    _check_keys(weights, {*dict(renamed(blocks)), *TRANSPOSED, *dict(stacked(blocks))})
    named = {theirs: weights[ours] for ours, theirs in renamed(blocks)}
    named["logit_scale"] = named["logit_scale"].reshape(())
    named |= {theirs: weights[ours].T for ours, theirs in TRANSPOSED.items()}
    for ours, theirs in stacked(blocks):
        named |= dict(zip(theirs, weights[ours].chunk(len(theirs)), strict=True))
    return {key: value.clone(memory_format=torch.contiguous_format) for key, value in named.items()}


def to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_transformers`.

    Raises:
        KeyError: a weight is missing.
    """
    blocks = block_names(state, {theirs: ours for ours, theirs in TOWERS.items()})
    blocks = {ours: theirs for theirs, ours in blocks.items()}
    named = {ours: state[theirs] for ours, theirs in renamed(blocks)}
    named |= {ours: state[theirs].T for ours, theirs in TRANSPOSED.items()}
    for ours, theirs in stacked(blocks):
        named[ours] = torch.cat([state[key] for key in theirs])
    return named


def block_names(keys: Mapping[str, Tensor], towers: Mapping[str, str]) -> dict[str, str]:
    """Every block of the towers that `keys` are of, with its name in the other layout.

    For example {"transformer.resblocks.0": "text_model.encoder.layers.0"}.
    """
    return {
        f"{tower}.{number}": f"{other}.{number}"
        for tower, other in towers.items()
        for number in sorted({_number(key, tower) for key in keys if key.startswith(f"{tower}.")})
    }


def renamed(blocks: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(open_clip's name, transformers' name) of the weights that are the same tensor."""
    for ours, theirs, ends in OUTSIDE_BLOCKS:
        yield from ((ours + end, theirs + end) for end in ends)
    for block, other in blocks.items():
        for ours, theirs in IN_BLOCK:
            yield from ((f"{block}.{ours}{e}", f"{other}.{theirs}{e}") for e in WEIGHT_AND_BIAS)


def stacked(blocks: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """(open_clip's one weight or bias of queries, keys and values, transformers' three)."""
    for block, other in blocks.items():
        for end in ("weight", "bias"):
            names = [f"{other}.self_attn.{part}.{end}" for part in STACKED]
            yield f"{block}.attn.in_proj_{end}", names


def _number(key: str, tower: str) -> int:
    return int(key.removeprefix(f"{tower}.").split(".")[0])


def _check_keys(weights: Mapping[str, Tensor], expected: set[str]) -> None:
    """Raise UserError unless the weights are all of CLIPModel's and no others."""
    foreign = [key for key in weights if key not in expected]
    missing = sorted(expected - set(weights))
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

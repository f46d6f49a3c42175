"""How the weights of a CLIP are named in the files of others: one table for each layout.

A layout maps every weight of open_clip's CLIP to the names it has in the file. Of a whole CLIP
the image encoder is `visual.*`; what is not `visual.*` is its text half, the logit scale included.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
VISUAL = "visual."
LOGITS = ("logit_scale", "logit_bias")
# what older files hold beside their weights: sizes, the causal mask, 0, 1, 2, ...
NO_WEIGHTS = re.compile(
    r"(.*\.)?(attn_mask|input_resolution|context_length|vocab_size|embeddings\.position_ids)"
)
CUSTOM_TEXT = "text."  # open_clip's later class of models has its text half under this prefix
# e.g. "visual.transformer.resblocks.3.", "3", "attn.in_proj_", "bias"
BLOCK = re.compile(r"((?:visual\.)?transformer\.resblocks\.(\d+)\.)(.+)(weight|bias)")
IN_BLOCK = {
    "ln_1.": "layer_norm1.", "ln_2.": "layer_norm2.", "attn.out_proj.": "self_attn.out_proj.",
    "mlp.c_fc.": "mlp.fc1.", "mlp.c_proj.": "mlp.fc2.",
}  # fmt: skip
IN_PROJ, STACKED = "attn.in_proj_", "qkv"  # queries, keys and values are one weight, in this order
OUTSIDE = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # their spelling
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
TRANSPOSED = ("visual.proj", "text_projection")


@dataclass(frozen=True)
class Layout:
    """names: weight of open_clip's CLIP -> its names in the file, several where it is those
    stacked (queries, keys, values); transposed: weights whose axes are the other way round."""

    title: str
    names: dict[str, tuple[str, ...]]
    transposed: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the text half is part of it."""
        return not all(name.startswith(VISUAL) for name in self.names)

    @property
    def file_names(self) -> set[str]:
        """Every name that a file of this layout has."""
        return {name for names in self.names.values() for name in names}

    def take(self, name: str, state: State) -> Tensor:
        """One of open_clip's weights out of a file's; KeyError where a part of it is not there."""
        parts = [state[part] for part in self.names[name]]
        value = torch.cat(parts) if len(parts) > 1 else parts[0]
        return value.T.contiguous() if name in self.transposed and value.ndim == 2 else value

    def convert(self, state: State) -> State:
        """A file's weights, which have `file_names`, under open_clip's names, in their dtype."""
        return {name: self.take(name, state) for name in self.names}

    def revert(self, state: State) -> State:
        """The inverse of `convert`: views of open_clip's weights under the names in the file."""
        parts: State = {}
        for name, file_names in self.names.items():
            value = state[name].T if name in self.transposed else state[name]
            chunks = value.chunk(len(file_names)) if len(file_names) > 1 else (value,)
            parts |= dict(zip(file_names, chunks, strict=True))
        return parts


def of_model(model: nn.Module) -> list[Layout]:
    """The layouts that a file with weights of this open_clip CLIP, or of its image encoder,
    may have."""
    names = list(model.state_dict())
    image = [name for name in names if name.startswith(VISUAL)]
    layouts = [
        Layout("image encoder", {name: (name.removeprefix(VISUAL),) for name in image}),
        Layout("whole CLIP", {name: (name,) for name in names}),
        Layout("whole CLIP", {name: (_custom_text(name),) for name in names}),
    ]
    if all(_in_transformers(name) for name in names):
        layouts += [transformers(image), transformers(names)]
    return layouts


def transformers(names: Iterable[str]) -> Layout:
    """The layout of the transformers library for these weights of open_clip's CLIP."""
    table = {name: _in_transformers(name) for name in names}
    part = "whole CLIP" if "logit_scale" in table else "image encoder"
    return Layout(f"{part} in the layout of transformers", table, TRANSPOSED)


def all_in_transformers(names: Iterable[str]) -> set[str]:
    """Every weight that a CLIP of the transformers library has, by open_clip's names, with the
    blocks that `names` are of."""
    blocks = {match[1] for match in map(BLOCK.fullmatch, names) if match}
    parts = [part + kind for part in (*IN_BLOCK, IN_PROJ) for kind in ("weight", "bias")]
    return {*OUTSIDE, *(block + part for block in blocks for part in parts)}


def _custom_text(name: str) -> str:
    return name if name.startswith((VISUAL, *LOGITS)) else f"{CUSTOM_TEXT}{name}"


def _in_transformers(name: str) -> tuple[str, ...]:
    """Names in the transformers library; () for a weight that its CLIP does not have.

    For example "visual.transformer.resblocks.3.attn.in_proj_bias" is the three
    "vision_model.encoder.layers.3.self_attn.q_proj.bias", "...k_proj.bias" and "...v_proj.bias".
    """
    if name in OUTSIDE:
        return (OUTSIDE[name],)
    tower = "vision_model" if name.startswith(VISUAL) else "text_model"
    block = BLOCK.fullmatch(name)
    if not block:
        return ()
    _, number, part, kind = block.groups()
    start = f"{tower}.encoder.layers.{number}."
    if part == IN_PROJ:
        return tuple(f"{start}self_attn.{letter}_proj.{kind}" for letter in STACKED)
    return (f"{start}{IN_BLOCK[part]}{kind}",) if part in IN_BLOCK else ()

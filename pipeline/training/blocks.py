"""Which transformer blocks are trained: `finetune.blocks`.

null       the whole image encoder
first N    its first N blocks, with what comes before them: patch and positional embeddings, the
           class token, the first norm
last N     its last N blocks, with what comes after them: the last norm and the projection
A-B        blocks A to B, counted from 1; with what comes before where A is 1, and with what
           comes after where B is the last
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from torch import nn

from pipeline.clip.model import ImageEncoder
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE

NUMBER = r"([1-9]\d{0,3})"
ENDS = re.compile(rf"(first|last) {NUMBER}")
RANGE = re.compile(rf"{NUMBER}-{NUMBER}")


def _sound(text: str) -> str:
    between = RANGE.fullmatch(text)
    if not ENDS.fullmatch(text) and not between:
        raise ValueError("is not 'first N', 'last N' or 'A-B'")
    if between and int(between[1]) > int(between[2]):
        raise ValueError("ends before it begins")
    return text


Blocks = Annotated[str, Field(max_length=20), AfterValidator(_sound)]


def block_range(blocks: str | None, layers: int) -> range:
    """Positions, from 0, of the trained blocks among `layers`; those that there are, where
    `blocks` asks for more."""
    if blocks is None:
        return range(layers)
    if end := ENDS.fullmatch(blocks):
        count = min(int(end[2]), layers)
        return range(count) if end[1] == "first" else range(layers - count, layers)
    first, last = map(int, blocks.split("-"))
    return range(min(first - 1, layers), min(last, layers))


def too_many(blocks: str | None, layers: int) -> str | None:
    """What is wrong with `blocks` of an encoder of so many layers, with the key; None: nothing."""
    if blocks is None or max(map(int, re.findall(r"\d+", blocks))) <= layers:
        return None
    return (
        f"{PARAMS_FILE}: finetune.blocks is '{blocks}', the image encoder has {layers} blocks; "
        "null trains them all"
    )


def train_blocks(encoder: ImageEncoder, blocks: str | None) -> None:
    """Gradients for the weights that `blocks` names, and for no others.

    Raises:
        UserError: the encoder has fewer blocks.
    """
    visual = encoder.visual
    visual.requires_grad_(blocks is None)
    if blocks is None:
        return
    layers = visual.transformer.resblocks
    if problem := too_many(blocks, len(layers)):
        raise UserError(problem)
    trained = block_range(blocks, len(layers))
    part: nn.Module
    for part in layers[trained.start : trained.stop]:
        part.requires_grad_(True)
    if trained.start == 0:
        for part in (visual.conv1, visual.ln_pre):
            part.requires_grad_(True)
        visual.class_embedding.requires_grad_(True)
        visual.positional_embedding.requires_grad_(True)
    if trained.stop == len(layers):
        visual.ln_post.requires_grad_(True)
        visual.proj.requires_grad_(True)

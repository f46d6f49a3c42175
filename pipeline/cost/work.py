"""FLOPs of the images that an encoder has encoded."""

from typing import Any

from pipeline.clip.forward_counts import Work
from pipeline.common.errors import UserError
from pipeline.cost import vision_transformer as vit


def flop(work: Work, model_cfg: dict[str, Any], trained: range | None = None) -> float | None:
    """FLOPs of the encoder's matrix products, backward included; None unless it is a ViT.

    Args:
        model_cfg: open_clip's; trained: positions of the trained blocks, None for all.
    """
    try:
        shape = vit.read(model_cfg)
    except UserError:
        return None
    forwards, ascents = work.plain * vit.forward_flop(shape), work.ascents * vit.ascend_flop(shape)
    return forwards + ascents + work.descents * vit.descend_flop(shape, trained)

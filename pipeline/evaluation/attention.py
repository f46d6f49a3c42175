"""Where a zero-shot classifier looks: for pictures, never for a verdict."""

import torch
from torch import Tensor

from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.training.attention import attention_map


def has_patches(classifier: ZeroShotClassifier) -> bool:
    """Whether the encoder's tokens are patches of the image: behind an attentional pooler
    (Yu et al. 2022, "CoCa") they are learned queries, which lie nowhere."""
    return getattr(classifier.encoder.visual, "attn_pool", None) is None


@torch.no_grad()
def label_attention(classifier: ZeroShotClassifier, images: Tensor, labels: Tensor) -> Tensor:
    """float32 (B, rows, columns) of the patch grid, in [0, 1]: the cosine of every patch with the
    text of the image's class, scaled to its own range; see `pipeline.training.attention`.

    Args:
        classifier: one that `has_patches`; its encoder that decides looks, in float32.
        images: float32 (B, 3, S, S) in [0, 1].
        labels: int64 (B,), on the device of the images.
    """
    texts = classifier.class_features[labels]
    maps = attention_map(classifier.judged_tokens(images), texts, "channel")
    return maps.view(-1, *classifier.encoder.grid)

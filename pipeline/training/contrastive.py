"""CLIP's contrastive loss over a batch, each image paired with the text of its class.

Source: Radford et al. 2021, figure 3; as fine-tuning baseline in TGA-ZSR's release (FT.py).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def symmetric_contrastive(pooled: Tensor, texts: Tensor, scale: float) -> Tensor:
    """Mean of the image-to-text and the text-to-image cross-entropy, a scalar.

    Args:
        pooled, texts: (B, D) unit-norm features, row i of both a pair. Another image of the
            same class counts as a negative, although its text is the same.
    """
    logits = scale * pooled @ texts.T
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2

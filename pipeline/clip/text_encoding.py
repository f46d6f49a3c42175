"""Where text becomes numbers: CLIP's text encoder over a list of sentences."""

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import Clip


@torch.no_grad()
def encode_texts(clip: Clip, texts: list[str], device: torch.device, batch: int = 256) -> Tensor:
    """Unit-norm text features (N, D), float32 on the CPU, in the order of `texts`."""
    model = clip.model.to(device)
    chunks = []
    for start in range(0, len(texts), batch):
        tokens = clip.tokenize(texts[start : start + batch]).to(device)
        chunks.append(F.normalize(model.encode_text(tokens), dim=-1).float().cpu())
    return torch.cat(chunks)

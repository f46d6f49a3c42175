"""Tiny CLIPs with weights in which every number counts, as `pipeline.clip.model.Clip`."""

from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP

from pipeline.clip import model as clip

VISION = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32}
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


def make(
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    preprocess: dict[str, Any] | None = None,
    tokenizer: dict[str, Any] | None = None,
    custom_text: bool = False,
    **config: Any,
) -> clip.Clip:
    """A CLIP of random weights; layer norms and biases too, which open_clip begins at 1 and 0."""
    model_cfg = {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": VISION | (vision or {}),
        "text_cfg": TEXT | (text or {}),
    } | config
    torch.manual_seed(0)
    model = (CustomTextCLIP if custom_text else CLIP)(**model_cfg).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    settings = clip.preprocess_config(size=32, std=(0.3, 0.2, 0.25)) | (preprocess or {})
    context = model_cfg["text_cfg"]["context_length"]
    tokenize = open_clip.SimpleTokenizer(**{"context_length": context} | (tokenizer or {}))
    return clip.Clip(model, {"model_cfg": model_cfg, "preprocess_cfg": settings}, tokenize)


def save(tiny: clip.Clip, folder: Path) -> None:
    """Write it as an open_clip folder."""
    clip.save(tiny.model, tiny.config, folder)

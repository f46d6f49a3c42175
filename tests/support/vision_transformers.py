"""Small vision transformers by open_clip's configuration."""

import torch
from open_clip.model import CLIP

from pipeline.clip.model import ImageEncoder


def config(**changes: object) -> dict:
    vision = {"image_size": 64, "patch_size": 8, "width": 64, "layers": 3, "head_width": 32}
    text = {"context_length": 16, "vocab_size": 99, "width": 32, "heads": 2, "layers": 2}
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    return model | changes


def encoder(model_cfg: dict) -> ImageEncoder:
    torch.manual_seed(0)
    model = CLIP(**model_cfg)
    return ImageEncoder(model.visual, (0.5,) * 3, (0.5,) * 3).eval()

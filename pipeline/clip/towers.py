"""The two towers of a CLIP, identified by the sha256 of all that they compute with."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import Tensor

from pipeline.clip.model import Clip

VISUAL = "visual."
SCALE = ("logit_scale", "logit_bias")  # of neither tower


def text_tower_hash(clip: Clip) -> str:
    """sha256 over weights and config of the text tower, and its tokenizer: models with equal ones
    give a text the same features."""
    state = clip.model.state_dict()
    names = [name for name in state if not name.startswith(VISUAL) and name not in SCALE]
    model = clip.config["model_cfg"]
    about = {
        "text_cfg": asdict(CLIPTextCfg(**model.get("text_cfg", {}))),
        "quick_gelu": bool(model.get("quick_gelu", False)),
        "tokenizer": type(clip.tokenize).__name__,
        "context": getattr(clip.tokenize, "context_length", None),
    }
    return _hash(about, ((name, state[name]) for name in sorted(names)))


def image_tower_hash(clip: Clip) -> str:
    """sha256 over weights and config of the image encoder, and its normalisation."""
    state = clip.model.visual.state_dict()
    model, preprocess = clip.config["model_cfg"], clip.config["preprocess_cfg"]
    about = {
        "vision_cfg": asdict(CLIPVisionCfg(**model["vision_cfg"])),
        "quick_gelu": bool(model.get("quick_gelu", False)),
        "mean": preprocess["mean"],
        "std": preprocess["std"],
    }
    return _hash(about, ((name, state[name]) for name in sorted(state)))


def facts(clip: Clip) -> dict[str, Any]:
    """What about.json says of the weights, see `pipeline.clip.about.About`."""
    return {
        "parameters": sum(weight.numel() for weight in clip.model.parameters()),
        "image_size": int(clip.model.visual.image_size[0]),
        "image_tower": image_tower_hash(clip),
        "text_tower": text_tower_hash(clip),
    }


def _hash(about: dict[str, Any], weights: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, weight in weights:
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(np.ascontiguousarray(weight.cpu().numpy()).data)
    return digest.hexdigest()

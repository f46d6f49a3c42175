"""The image encoder's bare state dict, as harnesses take it: `--vision_encoder_pretrained x.pt`."""

import copy
import io
from pathlib import Path

import torch

from pipeline.clip.model import Clip
from saft.export.probe import Probe, Reloaded, image_features

FILE = "visual.pt"


def write(clip: Clip, path: Path) -> None:
    """Write `model.visual.state_dict()` in float32. Same weights, same bytes: torch.save puts a
    file's name into the archive, and a buffer has none."""
    state = {key: value.float().clone() for key, value in clip.model.visual.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(buffer.getbuffer())


def reload(path: Path, clip: Clip, probe: Probe) -> Reloaded:
    """Image features of the file's weights in an encoder of the model's architecture."""
    visual = copy.deepcopy(clip.model.visual)
    with torch.no_grad():
        for weight in visual.parameters():
            weight.fill_(torch.nan)  # a weight that the file does not bring shows
    visual.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    return Reloaded({"image": image_features(visual, clip.config, probe)}, "open_clip")


def not_in_the_file(clip: Clip) -> str:
    """What one has to know besides the weights, in one line."""
    model, preprocess = clip.config["model_cfg"], clip.config["preprocess_cfg"]
    activation = "QuickGELU" if model.get("quick_gelu") else "GELU"
    side = clip.model.visual.image_size[0]
    mean, std = (", ".join(f"{v:g}" for v in preprocess[key]) for key in ("mean", "std"))
    return f"not in the file: {activation}, {side} x {side} pixels, mean {mean}, std {std}"

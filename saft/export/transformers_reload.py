"""A written transformers folder read again: by transformers where it can be imported, which it
need not be, and else as an open_clip model made of config.json, as the pipeline loads it."""

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from pipeline.clip.model import Clip
from pipeline.common.errors import UserError, one_line
from pipeline.models import layouts
from saft.export import transformers_tokenizer
from saft.export.probe import Features, Probe, Reloaded, features
from saft.export.transformers_folder import CONFIG_FILE, WEIGHTS_FILE
from saft.export.transformers_tokenizer import END_ID

WITHOUT_TRANSFORMERS = "our own inverse mapping (transformers cannot be imported)"


def reload(folder: Path, clip: Clip, probe: Probe) -> Reloaded:
    """Features of the folder's model, images and texts prepared by the folder's own files.

    Raises:
        UserError: transformers does not load it, or its tokens are not the model's.
    """
    try:
        transformers: Any = importlib.import_module("transformers")
        classes = transformers.CLIPModel, transformers.CLIPProcessor
    except (ImportError, RuntimeError):  # the latter where a package that it needs does not fit
        values = features(rebuilt(folder, clip.config), probe)
        return Reloaded(values, WITHOUT_TRANSFORMERS)
    reader = f"transformers {transformers.__version__}"
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        values = by_transformers(*classes, folder, clip, probe)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{reader} cannot load what was written: {one_line(error, 300)}") from None
    return Reloaded(values, reader)


@torch.no_grad()
def by_transformers(
    clip_model: Any, clip_processor: Any, folder: Path, clip: Clip, probe: Probe
) -> Features:
    """Features by transformers' model and processor.

    Raises:
        UserError: a weight is not in the file, or the tokens are not the model's.
    """
    model, loading = clip_model.from_pretrained(
        folder, local_files_only=True, output_loading_info=True
    )
    left = [key for kind in ("missing_keys", "unexpected_keys") for key in loading[kind]]
    if left or loading["mismatched_keys"]:
        raise UserError(f"transformers does not find all weights in {WEIGHTS_FILE}: {left[:3]}")
    processor = clip_processor.from_pretrained(folder, local_files_only=True)
    inputs = processor(
        text=list(probe.texts),
        images=[Image.fromarray(pixels) for pixels in probe.pixels],
        padding="max_length",
        truncation=True,
        return_tensors="pt",
    )
    check_tokens(inputs["input_ids"], clip.tokenize(list(probe.texts)))
    tokens = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    return {
        "image": pooled(model.eval().get_image_features(pixel_values=inputs["pixel_values"])),
        "text": pooled(model.get_text_features(**tokens)),
    }


def pooled(output: Any) -> Tensor:
    """The features alone: transformers 5 returns them with the tokens, 4 by themselves."""
    return getattr(output, "pooler_output", output)


def check_tokens(theirs: Tensor, ours: Tensor) -> None:
    """Raise UserError unless both (M, context) agree up to the first end token of each row."""
    ends = (ours == END_ID).int().argmax(dim=-1)
    for row, (end, left, right) in enumerate(zip(ends.tolist(), theirs, ours, strict=True)):
        if not torch.equal(left[: end + 1], right[: end + 1]):
            raise UserError(f"the written tokenizer gives other tokens for text {row} of the probe")


def rebuilt(folder: Path, config: dict[str, Any]) -> Clip:
    """The folder as an open_clip model, in eval mode. config: where mean and std are."""
    written = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    model = CLIP(**open_clip_config(written)).eval()
    weights = layouts.transformers(model.state_dict()).convert(load_file(folder / WEIGHTS_FILE))
    model.load_state_dict(weights, strict=True)
    tokenizer = transformers_tokenizer.reread(folder, model.context_length)
    return Clip(model, config, tokenizer)


def open_clip_config(written: dict[str, Any]) -> dict[str, Any]:
    """open_clip's model_cfg of a config.json."""
    vision, text = written["vision_config"], written["text_config"]
    return {
        "embed_dim": written["projection_dim"],
        "quick_gelu": vision["hidden_act"] == "quick_gelu",
        "vision_cfg": _tower(vision)
        | {
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
        },
        "text_cfg": _tower(text)
        | {
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "heads": text["num_attention_heads"],
        },
    }


def _tower(section: dict[str, Any]) -> dict[str, Any]:
    width, tanh = section["hidden_size"], section["hidden_act"] == "gelu_pytorch_tanh"
    return {
        "width": width,
        "layers": section["num_hidden_layers"],
        "mlp_ratio": (section["intermediate_size"] + 0.5) / width,  # open_clip rounds down
        "norm_kwargs": {"eps": section["layer_norm_eps"]},
        "act_kwargs": {"approximate": "tanh"} if tanh else None,
    }

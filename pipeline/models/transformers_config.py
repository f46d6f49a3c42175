"""config.json and preprocessor_config.json of the transformers library, as open_clip's config.

Keys that are not in the file have the library's defaults: its CLIP is OpenAI's ViT-B-32, with
QuickGELU.
"""

import json
import math
from pathlib import Path
from typing import Any

from pipeline.clip.model import preprocess_config
from pipeline.common.errors import UserError
from pipeline.common.text_files import read_text

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
TOWER: dict[str, Any] = {
    "num_attention_heads": 12, "num_hidden_layers": 12, "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}  # fmt: skip
IMAGE: dict[str, Any] = TOWER | {
    "hidden_size": 768, "intermediate_size": 3072, "image_size": 224, "patch_size": 32,
    "num_channels": 3,
}  # fmt: skip
TEXT: dict[str, Any] = TOWER | {
    "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "vocab_size": 49408,
    "max_position_embeddings": 77, "eos_token_id": 49407,
}  # fmt: skip
QUICK = {"quick_gelu": True, "gelu": False}
RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # of Pillow
EPSILON = 1e-5  # of open_clip's layer norms
VOCABULARY = 49408
ENDS = (None, 2, 49407)  # 2 is how older configs say "where the token's number is largest"


def read(config: Path, preprocessor: Path | None, what: str) -> dict[str, Any]:
    """{"model_cfg", "preprocess_cfg"} of a CLIP in the layout of transformers; `what` names it.

    Raises:
        UserError: a file is broken, or the model is another than a CLIP with its own tokenizer.
    """
    values = _json(config)
    _check_kind(values, what)
    try:
        image, text = IMAGE | _tower(values, "vision_config"), TEXT | _tower(values, "text_config")
        reason = _unusable(image, text)
        if reason:
            raise UserError(f"{what} cannot be used: {reason}; choose another model")
        model = {
            "embed_dim": values.get("projection_dim", 512),
            "vision_cfg": _image_config(image),
            "text_cfg": _text_config(text),
            "quick_gelu": QUICK[image["hidden_act"]],
        }
        settings = _json(preprocessor) if preprocessor else {}
        return {"model_cfg": model, "preprocess_cfg": _preprocessing(settings, image, what)}
    except (LookupError, TypeError, ArithmeticError) as error:
        raise UserError(f"{what}: {config.name} is not usable: {error!r}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def _check_kind(values: dict[str, Any], what: str) -> None:
    kind = values.get("model_type")
    if kind in ("clip_vision_model", "clip_vision_model_with_projection"):
        raise UserError(
            f"{what} is an image encoder without a text tower; use source: checkpoint with its "
            "weights as file: and the CLIP that it was trained from as model:"
        )
    if kind is None:
        library = "timm" if "architecture" in values else "another library"
        raise UserError(
            f"{what} cannot be used: its {CONFIG} is of {library}, not of a CLIP of transformers; "
            "choose another model"
        )
    if kind != "clip":
        raise UserError(
            f"{what} cannot be used: it is a model of type {kind!r} of transformers, only clip is "
            "supported; choose another model"
        )


def _tower(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Section `name`; older files have a second one, `<name>_dict`, which the library prefers."""
    return values.get(f"{name}_dict") or values.get(name) or {}


def _unusable(image: dict[str, Any], text: dict[str, Any]) -> str:
    """Why open_clip's CLIP cannot be this model; "" if it can."""
    acts = image["hidden_act"], text["hidden_act"]
    if acts[0] != acts[1]:
        return f"its towers have two activations (hidden_act {acts[0]} and {acts[1]})"
    if acts[0] not in QUICK:
        return f"its activation is {acts[0]}, only {' and '.join(QUICK)} are supported"
    if text["vocab_size"] != VOCABULARY:
        return (
            f"its tokenizer has {text['vocab_size']} tokens, only CLIP's own with {VOCABULARY} is "
            "supported"
        )
    if text["eos_token_id"] not in ENDS:
        return f"its texts end with token {text['eos_token_id']}, CLIP's with {ENDS[-1]}"
    if image["num_channels"] != 3:
        return f"its images have {image['num_channels']} channels"
    return ""


def _image_config(image: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_size": image["image_size"],
        "patch_size": image["patch_size"],
        "width": image["hidden_size"],
        "layers": image["num_hidden_layers"],
        "head_width": image["hidden_size"] // image["num_attention_heads"],
        **_shared(image),
    }


def _text_config(text: dict[str, Any]) -> dict[str, Any]:
    return {
        "context_length": text["max_position_embeddings"],
        "vocab_size": text["vocab_size"],
        "width": text["hidden_size"],
        "heads": text["num_attention_heads"],
        "layers": text["num_hidden_layers"],
        **_shared(text),
    }


def _shared(tower: dict[str, Any]) -> dict[str, Any]:
    """Ratio of the hidden layer's width, and the layer norms' epsilon where it is not usual."""
    hidden, width = tower["intermediate_size"], tower["hidden_size"]
    epsilon = tower["layer_norm_eps"]
    ratio = hidden / width
    while int(width * ratio) < hidden:  # open_clip rounds down
        ratio = math.nextafter(ratio, math.inf)
    norm = {} if epsilon == EPSILON else {"norm_kwargs": {"eps": epsilon}}
    return {"mlp_ratio": ratio, **norm}


def _preprocessing(settings: dict[str, Any], image: dict[str, Any], what: str) -> dict[str, Any]:
    """open_clip's preprocess_cfg; CLIP's own where nothing else is said."""
    if settings.get("rescale_factor", 1 / 255) != 1 / 255 or settings.get("do_rescale") is False:
        raise UserError(f"{what} cannot be used: {PREPROCESSOR} does not rescale pixels to [0, 1]")
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if settings.get("do_normalize") is False:
        mean, std = [0.0] * 3, [1.0] * 3
    size = settings.get("size")
    stretched = isinstance(size, dict) and "height" in size and not settings.get("do_center_crop")
    resampling = settings.get("resample", 3)
    if resampling not in RESAMPLING:
        raise UserError(f"{what} cannot be used: {PREPROCESSOR}: unknown resample {resampling!r}")
    return preprocess_config(mean, std, image["image_size"]) | {
        "interpolation": RESAMPLING[resampling],
        "resize_mode": "squash" if stretched else "shortest",
    }

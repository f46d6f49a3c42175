"""open_clip_config.json of an open_clip folder, read and checked; without torch."""

import json
import math
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.tables import read_json
from pipeline.common.text_files import read_text

CONFIG_FILE = "open_clip_config.json"
# keys with which open_clip fetches a tower or a tokenizer from the hub, whatever the folder holds
ELSEWHERE = {
    "vision_cfg": ("timm_model_name",),
    "text_cfg": ("hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs"),
}


# how open_clip resizes an image; a key that is not there, or null, is its default
RESIZING = {
    "interpolation": ("bicubic", "bilinear", "random"),
    "resize_mode": ("shortest", "longest", "squash"),
}


def read_config(folder: Path) -> dict[str, Any]:
    """The whole config: `model_cfg` and `preprocess_cfg`.

    Raises:
        UserError: the file is missing or broken, or a part that this pipeline uses is not there.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(read_text(path))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; is '{folder}' an open_clip folder?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not an open_clip config: {error!r}") from None
    check_config(config, str(path))
    model = without_absent_parts(config["model_cfg"])
    _check_own_parts(model, path)
    return config | {"model_cfg": model}


def without_absent_parts(model: dict[str, Any]) -> dict[str, Any]:
    """A model_cfg without the keys of parts of another library that are null: open_clip takes
    `hf_model_name: null`, which other programs write out, for a text tower of the hub."""
    kept = {k: v for k, v in model.items() if v is not None or k != "multimodal_cfg"}
    for section, keys in ELSEWHERE.items():
        values = model.get(section)
        if isinstance(values, dict):
            kept[section] = {k: v for k, v in values.items() if v is not None or k not in keys}
    return kept


def check_config(config: dict[str, Any], where: str) -> None:
    """Raise UserError, `where` first, unless what this pipeline uses of a config is there and
    can be computed with."""
    try:
        _check_config(config)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: not an open_clip config: {error!r}") from None


def model_config(folder: Path) -> dict[str, Any]:
    """The model_cfg of an open_clip folder: what `pipeline.cost.vision_transformer` reads.

    Raises:
        UserError: a file is missing or broken.
    """
    return read_config(folder)["model_cfg"]


def text_context(folder: Path) -> int | None:
    """Tokens that the text encoder reads, at least 1; None: open_clip's default.

    Raises:
        UserError: the file is not JSON, has no text_cfg, or the length is not a positive integer.
    """
    path = folder / CONFIG_FILE
    try:
        context = read_json(path)["model_cfg"]["text_cfg"].get("context_length")
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not an open_clip config: no model_cfg.text_cfg") from None
    if context is not None and (type(context) is not int or context < 1):
        raise UserError(f"{path}: model_cfg.text_cfg.context_length: {context!r} is no length")
    return context


def _check_config(config: dict[str, Any]) -> None:
    """Raise LookupError, TypeError or ValueError unless what this pipeline uses is there; pixels
    are divided by std."""
    model = config["model_cfg"]
    for section in (model["vision_cfg"], model.get("text_cfg") or {}):
        if not isinstance(section, dict):
            raise TypeError("model_cfg.vision_cfg and text_cfg must be objects")
    for key in ("mean", "std"):
        values = config["preprocess_cfg"][key]
        if len(values) != 3 or not all(type(value) in (int, float) for value in values):
            raise TypeError(f"preprocess_cfg.{key} must be three numbers")
        if not all(math.isfinite(value) and (key == "mean" or value > 0) for value in values):
            least = " above 0" if key == "std" else ""
            raise ValueError(f"preprocess_cfg.{key} must be finite numbers{least}, not {values}")
    for key, known in RESIZING.items():
        value = config["preprocess_cfg"].get(key)
        if value is not None and value not in known:
            raise ValueError(f"preprocess_cfg.{key} must be one of {', '.join(known)}, not {value}")


def _check_own_parts(model: dict[str, Any], path: Path) -> None:
    """Raise UserError if open_clip would build the model of other parts than its own."""
    named = [
        f"{section}.{key}"
        for section, keys in ELSEWHERE.items()
        for key in keys
        if key in (model.get(section) or {})
    ]
    named += [key for key in ("custom_text", "multimodal_cfg") if model.get(key)]
    if named:
        raise UserError(
            f"{path}: model_cfg.{named[0]} is not supported: it may name a part that is fetched "
            "from the network; only open_clip's own ViT, text tower and tokenizer are taken"
        )

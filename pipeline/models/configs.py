"""open_clip's config of a published model: read, completed, and refused where this pipeline does
not take the layout that it describes."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from pipeline.clip.config import CONFIG_FILE, ELSEWHERE, without_absent_parts
from pipeline.clip.model import preprocess_config
from pipeline.common.errors import UserError
from pipeline.common.text_files import read_text


def read_repository_config(path: Path, what: str) -> dict[str, Any]:
    """{"model_cfg", "preprocess_cfg"} of a repository's config file; `what` is for messages.

    Raises:
        UserError: it is not an open_clip config.
    """
    try:
        config = json.loads(read_text(path))
        sections = [config["model_cfg"][key] for key in ("vision_cfg", "text_cfg")]
        if not all(isinstance(section, dict) for section in sections):
            raise TypeError("vision_cfg and text_cfg must be objects")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{what}: {CONFIG_FILE} is not usable: {error!r}") from None
    return {
        "model_cfg": without_absent_parts(config["model_cfg"]),
        "preprocess_cfg": preprocessing(config.get("preprocess_cfg", {})),
    }


def check_layout(model: dict[str, Any], what: str) -> None:
    """Raise UserError unless `model`, a model_cfg, is a ViT CLIP in open_clip's first layout
    with its own tokenizer; `what` names it."""
    image, text = model["vision_cfg"], model.get("text_cfg", {})
    reason = ""
    if any(key in text for key in ELSEWHERE["text_cfg"]):
        reason = "its tokenizer is one of the Hugging Face hub, only CLIP's own is supported"
    elif "vocab_path" in text:
        reason = (
            f"its tokenizer is a vocabulary of its own (text_cfg.vocab_path {text['vocab_path']}, "
            "as BERT's in Delta-CLIP), only CLIP's is supported"
        )
    elif model.get("custom_text") or "multimodal_cfg" in model:
        reason = "its text tower is a module of its own (CustomTextCLIP), only CLIP's is supported"
    elif "timm_model_name" in image or isinstance(image.get("layers"), list):
        kind = image.get("timm_model_name", "a ResNet")
        reason = f"its image encoder is {kind}, only open_clip's vision transformers are supported"
    elif unknown := _unknown_keys(image, CLIPVisionCfg) + _unknown_keys(text, CLIPTextCfg):
        reason = f"its config has keys that open_clip does not know ({', '.join(unknown)})"
    if reason:
        raise UserError(f"{what} cannot be used: {reason}; choose another model")


def _unknown_keys(section: dict[str, Any], schema: Any) -> list[str]:
    known = {field.name for field in fields(schema)}
    return [key for key in section if key not in known]


def preprocessing(published: dict[str, Any]) -> dict[str, Any]:
    """CLIP's own preprocessing, changed by what was published."""
    keys = ("interpolation", "resize_mode", "size")
    settings = {key: published[key] for key in keys if published.get(key) is not None}
    return preprocess_config(published.get("mean"), published.get("std")) | settings

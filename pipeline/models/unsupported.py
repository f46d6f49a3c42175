"""Kinds of files that this pipeline knows and does not take, told by the names of their weights.

What is listed here is named in the message instead of "N missing, N unexpected".
"""

import re
from collections.abc import Iterable
from typing import Any

# the first whose pattern is found in a key of the file; order matters
KINDS = [
    (r"\.lora_[AB]\b|\.lora_(down|up)\b|lora_(A|B)\.|\.hada_w1_a", "a LoRA adapter (merge it into "
     "its model first, e.g. with merge_and_unload of peft)"),
    (r"(^|\.)(down_blocks|up_blocks)\.\d|^first_stage_model\.|^model\.diffusion_model\.",
     "a diffusion model (diffusers), whose image encoder is no CLIP"),
    (r"vision_model\.head\.probe|(^|\.)head\.probe$|visual\.trunk\.attn_pool\.",
     "SigLIP, whose image encoder pools by attention and has no class token"),
    (r"(^|\.)blocks\.\d+\.(attn\.(inner_attn_ln|q_bias|rope)|mlp\.w1_?\d?\.)|(^|\.)rope\.freqs",
     "EVA-CLIP, whose image encoder is another vision transformer"),
    (r"visual\.trunk\.", "a CLIP whose image encoder is a timm model"),
    (r"(^|\.)visual\.(layer[1-4]\.\d|attnpool\.)|^(layer[1-4]\.\d|attnpool\.)",
     "a ResNet"),
    (r"(^|\.)text\.transformer\.(encoder\.layer|embeddings\.word|roberta|bert)|"
     r"(^|\.)(bert|text_encoder|roberta)\.(encoder|embeddings)\.",
     "a CLIP with a text tower and tokenizer of the Hugging Face hub (BERT, RoBERTa)"),
    (r"(^|\.)text_decoder\.", "CoCa, which has a text decoder"),
    (r"(^|\.)(stages|downsample_layers)\.\d+\.", "a ConvNeXt"),
    (r"(^|\.)blocks\.\d+\.(attn|norm1)\.", "a timm vision transformer (keys blocks.*.attn)"),
    (r"(^|\.)vit\.encoder\.layer\.\d", "a ViT of transformers (keys vit.encoder), no CLIP"),
    (r"^(prompt_learner|ctx|prompt)\b", "learned prompts, not an image encoder"),
]  # fmt: skip
HEADS = re.compile(r"(^|\.)(head|fc|classifier|classification_head)\.(weight|bias)$")


# what a file that is no checkpoint begins with
FILES = (
    (
        (b"<!doctype", b"<html", b"<?xml"),
        "a web page: the download was answered by one; get it again",
    ),
    ((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf"), "a compressed archive; unpack it first"),
    ((b"\x89HDF",), "an HDF5 file (Keras, TensorFlow); this is not supported"),
    ((b"GGUF",), "a GGUF file (llama.cpp); this is not supported"),
    ((b"\x93NUMPY",), "an array of numpy; this is not supported"),
    ((b"{", b"["), "JSON; name the file with the weights"),
)


def file_kind(start: bytes) -> str:
    """What a file is that begins so; "" for one that may be a checkpoint."""
    plain = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \r\n\t")
    for beginnings, title in FILES:
        if start.startswith(beginnings) or plain.lower().startswith(beginnings):
            return title
    return ""


def kind(keys: Iterable[str]) -> str:
    """What a state dict with these keys is; "" for one that is not known."""
    names = list(keys)
    for pattern, title in KINDS:
        if any(re.search(pattern, name) for name in names):
            return title
    return ""


def classifier(keys: Iterable[str]) -> str:
    """What it is, where a weight is called as the last layer of a classifier is; else ""."""
    if any(HEADS.search(name) for name in keys):
        return "a classifier: its image encoder ends in class scores, not in CLIP's features"
    return ""


def without_weights(content: Any) -> str:
    """What a checkpoint without any usable state dict is; "" if not known."""
    if isinstance(content, dict):
        if {"param_groups", "state"} <= {str(key) for key in content}:
            return "the state of an optimiser alone, without weights"
        if "optimizer" in content or "optimizer_state_dict" in content:
            return "the state of an optimiser and no weights beside it"
    return ""

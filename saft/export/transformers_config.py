"""config.json and preprocessor_config.json of transformers' CLIP, from an open_clip model.

What decides a feature and is no weight is read from the model that open_clip built, not from its
config: activation, epsilon, heads, pooling, mask. What CLIPModel cannot do is refused.
"""

import math
from typing import Any

from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import nn

from pipeline.clip.model import Clip
from pipeline.common.errors import UserError
from saft.export.transformers_tokenizer import BEGIN_ID, END_ID

RESAMPLING = {"bicubic": 3, "bilinear": 2}  # PIL's numbers, as the file has them
GELU = {"none": "gelu", "tanh": "gelu_pytorch_tanh"}


def model_config(clip: Clip) -> dict[str, Any]:
    """config.json, a CLIPConfig.

    Raises:
        UserError: transformers' CLIP is another function, whatever its weights.
    """
    model = clip.model
    text = getattr(model, "text", model)  # open_clip's later class has a tower of its own
    _check_image_tower(model.visual)
    _check_text_tower(model, text)
    vision_config = tower_config(model.visual, "vision_cfg", [model.visual.ln_post]) | {
        "model_type": "clip_vision_model",
        "num_channels": 3,
        "image_size": model.visual.image_size[0],
        "patch_size": model.visual.patch_size[0],
        "projection_dim": model.visual.output_dim,
    }
    text_config = tower_config(text, "text_cfg", [text.ln_final]) | {
        "model_type": "clip_text_model",
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.context_length,
        "projection_dim": model.visual.output_dim,
        # the pooled token is the first that is `eos_token_id`: open_clip's highest, 49407
        "bos_token_id": BEGIN_ID,
        "eos_token_id": END_ID,
        "pad_token_id": END_ID,
    }
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": model.visual.output_dim,
        "logit_scale_init_value": round(math.log(1 / 0.07), 4),
        "text_config": text_config,
        "vision_config": vision_config,
    }


def tower_config(tower: Any, key: str, norms: list[Any]) -> dict[str, Any]:
    """What both towers' sections have. norms: the layer norms outside the blocks."""
    blocks = list(tower.transformer.resblocks)
    if not all(isinstance(block, ResidualAttentionBlock) for block in blocks):
        raise refused(f"model_cfg.{key}: blocks other than CLIP's")
    first = blocks[0]
    norms = [*norms, *(norm for block in blocks for norm in (block.ln_1, block.ln_2))]
    return {
        "hidden_size": first.mlp.c_fc.in_features,
        "intermediate_size": first.mlp.c_fc.out_features,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": first.attn.num_heads,
        "hidden_act": hidden_act(first.mlp.gelu, key),
        "layer_norm_eps": shared_epsilon(norms, key),
        "attention_dropout": 0.0,
    }


def hidden_act(activation: nn.Module, key: str) -> str:
    """The name in transformers of an activation of open_clip's."""
    if isinstance(activation, QuickGELU):
        return "quick_gelu"
    if type(activation) is nn.GELU:
        return GELU[activation.approximate]
    raise refused(f"model_cfg.{key}.act_kwargs: the activation {type(activation).__name__}")


def shared_epsilon(norms: list[Any], key: str) -> float:
    """The one epsilon of a tower's layer norms."""
    epsilons = {norm.eps for norm in norms}
    if not all(type(norm) is LayerNorm for norm in norms) or len(epsilons) > 1:
        raise refused(f"model_cfg.{key}.norm_kwargs: layer norms of several kinds")
    return float(epsilons.pop())


def preprocessor_config(clip: Clip) -> dict[str, Any]:
    """preprocessor_config.json, a CLIPImageProcessor that does what open_clip's transform does.

    Raises:
        UserError: it pads, which CLIPImageProcessor does not.
    """
    preprocess = clip.config["preprocess_cfg"]
    mode = preprocess.get("resize_mode") or "shortest"
    if mode not in ("shortest", "squash"):
        raise refused(f"preprocess_cfg.resize_mode: {mode}")
    side = clip.model.visual.image_size[0]
    square = {"height": side, "width": side}
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": side} if mode == "shortest" else square,
        "resample": RESAMPLING.get(preprocess.get("interpolation"), RESAMPLING["bicubic"]),
        "do_center_crop": mode == "shortest",
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess["mean"]),
        "image_std": list(preprocess["std"]),
    }


def refused(what: str) -> UserError:
    """The error of a model that CLIPModel cannot be."""
    return UserError(f"{what}: transformers' CLIP has no such thing; use --format open_clip")


def _check_image_tower(visual: Any) -> None:
    if type(visual) is not VisionTransformer:
        raise refused(f"model_cfg.vision_cfg: the image encoder {type(visual).__name__}")
    if isinstance(visual.ln_pre, nn.Identity):
        raise refused("model_cfg.vision_cfg.no_ln_pre: no layer norm before the blocks")
    if visual.attn_pool is not None:
        raise refused("model_cfg.vision_cfg.attentional_pool: pooling by attention")
    if visual.pool_type != "tok":
        raise refused(f"model_cfg.vision_cfg.pool_type: {visual.pool_type}")
    for key, sides in (("image_size", visual.image_size), ("patch_size", visual.patch_size)):
        if len(set(sides)) > 1:
            raise refused(f"model_cfg.vision_cfg.{key}: {sides[0]} x {sides[1]}, not square")


def _check_text_tower(model: Any, text: Any) -> None:
    if not hasattr(text, "ln_final"):
        raise refused(f"model_cfg.text_cfg: the text encoder {type(text).__name__}")
    if len(text.positional_embedding) != model.context_length:
        raise refused("model_cfg.text_cfg.embed_cls: a class embedding in the text")
    prefix = "text_" if text is model else ""
    pool, end = (getattr(text, f"{prefix}{name}") for name in ("pool_type", "eos_id"))
    if pool != "argmax" and (pool, end) != ("eos", END_ID):
        raise refused(f"model_cfg.text_cfg.pool_type: {pool}")
    if text.attn_mask is None:
        raise refused("model_cfg.text_cfg.no_causal_mask: text without the causal mask")
    if text.text_projection is None:
        raise refused("model_cfg.text_cfg.proj_type: text without a projection")

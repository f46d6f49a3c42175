"""Exports in transformers' layout for tests: written, and their features computed by hand."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from saft.export import probe, transformers_folder

CASES = {
    "quick_gelu": {},
    "gelu, narrow projection": {"quick_gelu": False, "embed_dim": 12},
    "tanh in the text, another epsilon": {
        "quick_gelu": False,
        "vision": {"norm_kwargs": {"eps": 1e-3}},
        "text": {"act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-2}},
    },
    "hidden layers of a rounded width": {"vision": {"mlp_ratio": 4.9231}},
    "pixels that no patch takes": {"vision": {"image_size": 35}},
    "open_clip's later class": {"custom_text": True},
    "norm after pooling": {"vision": {"final_ln_after_pool": True}},
    "fixed positions, dropped patches": {
        "vision": {"pos_embed_type": "sin_cos_2d", "patch_dropout": 0.5}
    },
    "another end token pooling": {"text": {"pool_type": "eos", "eos_id": 49407}},
    "logit scale in a list": {"nonscalar_logit_scale": True},
}


def written(tiny, folder: Path) -> Path:
    folder.mkdir()
    transformers_folder.write(tiny, folder)
    return folder


def read(path: Path):
    return json.loads(path.read_text())


def encoder(weights, section, prefix, tokens, mask=None):
    """The blocks of CLIPEncoder, after modeling_clip.py of transformers 5.24.0."""

    def linear(name, x):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name, x):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, section["layer_norm_eps"])

    acts = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": F.gelu}
    acts["gelu_pytorch_tanh"] = lambda x: F.gelu(x, approximate="tanh")
    for number in range(section["num_hidden_layers"]):
        layer = f"{prefix}.encoder.layers.{number}"
        x = norm(f"{layer}.layer_norm1", tokens)
        query, key, value = (
            linear(f"{layer}.self_attn.{part}_proj", x)
            .unflatten(-1, (section["num_attention_heads"], -1))
            .transpose(1, 2)
            for part in "qkv"
        )
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        if mask is not None:
            scores = scores + mask
        x = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        tokens = tokens + linear(f"{layer}.self_attn.out_proj", x)
        x = linear(f"{layer}.mlp.fc1", norm(f"{layer}.layer_norm2", tokens))
        tokens = tokens + linear(f"{layer}.mlp.fc2", acts[section["hidden_act"]](x))
    return tokens, norm


def features_by_hand(folder: Path, tiny, images_and_texts) -> probe.Features:
    """What CLIPModel computes, from the written files alone, in plain torch."""
    weights, config = load_file(folder / "model.safetensors"), read(folder / "config.json")
    processing = read(folder / "preprocessor_config.json")
    pixels = torch.tensor(images_and_texts.pixels).float() * processing["rescale_factor"]
    pixels = (pixels - torch.tensor(processing["image_mean"])) / torch.tensor(
        processing["image_std"]
    )
    vision, text = config["vision_config"], config["text_config"]
    kernel = weights["vision_model.embeddings.patch_embedding.weight"]
    patches = F.conv2d(pixels.permute(0, 3, 1, 2), kernel, stride=vision["patch_size"])
    first = weights["vision_model.embeddings.class_embedding"].expand(len(pixels), 1, -1)
    tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], 1)
    tokens = tokens + weights["vision_model.embeddings.position_embedding.weight"]
    _, norm = encoder(weights, vision | {"num_hidden_layers": 0}, "vision_model", tokens)
    tokens, _ = encoder(weights, vision, "vision_model", norm("vision_model.pre_layrnorm", tokens))
    image = (
        norm("vision_model.post_layernorm", tokens[:, 0]) @ weights["visual_projection.weight"].T
    )
    ids = tiny.tokenize(list(images_and_texts.texts))
    tokens = weights["text_model.embeddings.token_embedding.weight"][ids]
    tokens = tokens + weights["text_model.embeddings.position_embedding.weight"]
    mask = torch.full((ids.shape[1],) * 2, -torch.inf).triu(1)
    tokens, norm = encoder(weights, text, "text_model", tokens, mask)
    ends = (ids == text["eos_token_id"]).int().argmax(-1)
    pooled = norm("text_model.final_layer_norm", tokens)[torch.arange(len(ids)), ends]
    return {"image": image, "text": pooled @ weights["text_projection.weight"].T}

"""CLIPs in the files of other projects, written by hand from the formats' documented names."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pipeline.model_sources import checkpoint
from pipeline.models.interface import BaseModel

State = dict[str, torch.Tensor]


def prefixed(prefix: str, state: State) -> State:
    """Every key behind `prefix`."""
    return {f"{prefix}{key}": value for key, value in state.items()}


def into_clip(file: Path, clip_folder: Path, **options: Any) -> BaseModel:
    """What source `checkpoint` makes of a file, or of a folder of them, around a CLIP."""
    values = {"file": str(file), "model": f"local-dir:{clip_folder}", "tag": None}
    return checkpoint.build(checkpoint.Params(**values, cache_dir=None, **options))


def transformers_state(state: State) -> State:
    """open_clip's CLIP of two image and one text block under the names of transformers'
    CLIPModel, as its save_pretrained writes them (compared with 5.24.0)."""
    theirs = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_projection.weight": state["text_projection"].T.contiguous(),
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        theirs |= {
            f"vision_model.pre_layrnorm.{kind}": state[f"visual.ln_pre.{kind}"],
            f"vision_model.post_layernorm.{kind}": state[f"visual.ln_post.{kind}"],
            f"text_model.final_layer_norm.{kind}": state[f"ln_final.{kind}"],
        }
        for ours, block in [
            ("visual.transformer.resblocks.0", "vision_model.encoder.layers.0"),
            ("visual.transformer.resblocks.1", "vision_model.encoder.layers.1"),
            ("transformer.resblocks.0", "text_model.encoder.layers.0"),
        ]:
            query, key, value = state[f"{ours}.attn.in_proj_{kind}"].chunk(3)
            theirs |= {
                f"{block}.self_attn.q_proj.{kind}": query.contiguous(),
                f"{block}.self_attn.k_proj.{kind}": key.contiguous(),
                f"{block}.self_attn.v_proj.{kind}": value.contiguous(),
                f"{block}.self_attn.out_proj.{kind}": state[f"{ours}.attn.out_proj.{kind}"],
                f"{block}.layer_norm1.{kind}": state[f"{ours}.ln_1.{kind}"],
                f"{block}.layer_norm2.{kind}": state[f"{ours}.ln_2.{kind}"],
                f"{block}.mlp.fc1.{kind}": state[f"{ours}.mlp.c_fc.{kind}"],
                f"{block}.mlp.fc2.{kind}": state[f"{ours}.mlp.c_proj.{kind}"],
            }
    return theirs


def transformers_config(activation: str) -> dict[str, Any]:
    """config.json of the CLIP of tests.conftest, as CLIPModel.save_pretrained writes it."""
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": 16,
        "logit_scale_init_value": 2.6592,
        "text_config": {
            "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1,
            "hidden_act": activation, "hidden_size": 16, "intermediate_size": 64,
            "layer_norm_eps": 1e-05, "max_position_embeddings": 16,
            "model_type": "clip_text_model", "num_attention_heads": 2, "num_hidden_layers": 1,
            "projection_dim": 16, "vocab_size": 49408,
        },
        "vision_config": {
            "hidden_act": activation, "hidden_size": 32, "image_size": 16,
            "intermediate_size": 128, "layer_norm_eps": 1e-05,
            "model_type": "clip_vision_model", "num_attention_heads": 2, "num_channels": 3,
            "num_hidden_layers": 2, "patch_size": 4, "projection_dim": 16,
        },
    }  # fmt: skip


def write_transformers(
    folder: Path, state: State, config: dict[str, Any], form: str = "safetensors"
) -> Path:
    """A folder as save_pretrained writes it; form: safetensors, bin, or "sharded" before one."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    kind = form.removeprefix("sharded ")
    stem, save = {
        "safetensors": ("model", save_file),
        "bin": ("pytorch_model", lambda state, file: torch.save(state, file)),
    }[kind]
    if form == kind:
        save(state, folder / f"{stem}.{kind}")
        return folder
    keys, shards = sorted(state), {}
    for number, part in enumerate((keys[:9], keys[9:]), start=1):
        file = f"{stem}-{number:05d}-of-00002.{kind}"
        save({key: state[key] for key in part}, folder / file)
        shards |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": shards}
    (folder / f"{stem}.{kind}.index.json").write_text(json.dumps(index))
    return folder

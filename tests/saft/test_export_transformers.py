"""`saft export --format transformers`: the files of CLIPModel and CLIPProcessor."""

import sys

import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.common.errors import UserError
from pipeline.models import layouts
from saft.export import (
    probe,
    transformers_layout,
    transformers_reload,
    transformers_tokenizer,
)
from saft.export.transformers_config import model_config, preprocessor_config
from tests.support import tiny_clips
from tests.support.transformers_export import CASES, features_by_hand, read, written

CONTEXT = tiny_clips.TEXT["context_length"]
BLOCK = {  # per block of width W with 4 W between: CLIPModel's names and shapes
    "layer_norm1.weight": "W", "layer_norm1.bias": "W",
    "self_attn.k_proj.weight": "W W", "self_attn.k_proj.bias": "W",
    "self_attn.v_proj.weight": "W W", "self_attn.v_proj.bias": "W",
    "self_attn.q_proj.weight": "W W", "self_attn.q_proj.bias": "W",
    "self_attn.out_proj.weight": "W W", "self_attn.out_proj.bias": "W",
    "mlp.fc1.weight": "4W W", "mlp.fc1.bias": "4W",
    "mlp.fc2.weight": "W 4W", "mlp.fc2.bias": "W",
    "layer_norm2.weight": "W", "layer_norm2.bias": "W",
}  # fmt: skip
OUTSIDE = {
    "logit_scale": (),
    "text_model.embeddings.token_embedding.weight": (49408, 32),
    "text_model.embeddings.position_embedding.weight": (20, 32),
    "text_model.final_layer_norm.weight": (32,),
    "text_model.final_layer_norm.bias": (32,),
    "vision_model.embeddings.class_embedding": (64,),
    "vision_model.embeddings.patch_embedding.weight": (64, 3, 8, 8),
    "vision_model.embeddings.position_embedding.weight": (17, 64),
    "vision_model.pre_layrnorm.weight": (64,),
    "vision_model.pre_layrnorm.bias": (64,),
    "vision_model.post_layernorm.weight": (64,),
    "vision_model.post_layernorm.bias": (64,),
    "visual_projection.weight": (24, 64),
    "text_projection.weight": (24, 32),
}


def block_shapes(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    sides = {"W": width, "4W": 4 * width}
    return {f"{prefix}.{k}": tuple(sides[s] for s in v.split()) for k, v in BLOCK.items()}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_features_of_the_written_files_are_the_models(tmp_path, changes, monkeypatch):
    tiny = tiny_clips.make(**changes)
    images_and_texts = probe.make(tiny.model.visual.image_size[0])
    reference = probe.features(tiny, images_and_texts)
    folder = written(tiny, tmp_path / "tiny")
    with torch.no_grad():
        by_hand = features_by_hand(folder, tiny, images_and_texts)
    assert probe.largest_difference(by_hand, reference) < probe.TOLERANCE
    monkeypatch.setitem(sys.modules, "transformers", None)
    reloaded = transformers_reload.reload(folder, tiny, images_and_texts)
    assert reloaded.reader == transformers_reload.WITHOUT_TRANSFORMERS
    assert probe.largest_difference(reloaded.features, reference) == 0
    assert "4 images and 6 texts differ" in probe.check_equal(reloaded, reference)


def test_names_and_shapes_are_transformers(tmp_path):
    folder = written(tiny_clips.make(), tmp_path / "tiny")
    shapes = {k: tuple(v.shape) for k, v in load_file(folder / "model.safetensors").items()}
    expected = OUTSIDE | block_shapes("text_model.encoder.layers.0", 32)
    for number in range(2):
        expected |= block_shapes(f"vision_model.encoder.layers.{number}", 64)
    assert shapes == expected
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1, "all files are as readable as the others"


def test_config_says_what_is_no_weight(tmp_path):
    config = model_config(tiny_clips.make(embed_dim=12, vision={"head_width": 16}))
    assert config["model_type"] == "clip"
    assert config["projection_dim"] == 12
    vision, text = config["vision_config"], config["text_config"]
    assert (vision["image_size"], vision["patch_size"]) == (32, 8)
    assert (vision["num_attention_heads"], text["num_attention_heads"]) == (4, 2)
    assert (vision["hidden_act"], text["hidden_act"]) == ("quick_gelu", "quick_gelu")
    assert (vision["layer_norm_eps"], text["layer_norm_eps"]) == (1e-5, 1e-5)
    assert (text["bos_token_id"], text["eos_token_id"]) == (49406, 49407)
    assert text["max_position_embeddings"] == CONTEXT


def test_preprocessing_follows_the_models(tmp_path):
    tiny = tiny_clips.make(preprocess={"mean": [0.1, 0.2, 0.3]})
    processing = preprocessor_config(tiny)
    assert processing["image_mean"] == [0.1, 0.2, 0.3]
    assert processing["image_std"] == [0.3, 0.2, 0.25]
    assert (processing["size"], processing["resample"]) == ({"shortest_edge": 32}, 3)
    assert processing["do_center_crop"]
    squash = {"resize_mode": "squash", "interpolation": "bilinear"}
    processing = preprocessor_config(tiny_clips.make(preprocess=squash))
    assert processing["size"] == {"height": 32, "width": 32}
    assert (processing["do_center_crop"], processing["resample"]) == (False, 2)


def test_tokenizer_files_hold_clips_vocabulary(tmp_path):
    tiny = tiny_clips.make()
    folder = written(tiny, tmp_path / "tiny")
    vocabulary = read(folder / "vocab.json")
    assert sorted(vocabulary.values()) == list(range(49408))
    assert vocabulary["<|startoftext|>"] == 49406
    assert vocabulary["<|endoftext|>"] == 49407
    assert vocabulary["cat</w>"] == tiny.tokenize.encoder["cat</w>"]
    merges = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    assert merges[:2] == ["#version: 0.2", "i n"]
    assert len(merges) == 1 + 48894 + 1
    texts = [*probe.TEXTS, *open_clip.IMAGENET_CLASSNAMES[:300]]
    reread = transformers_tokenizer.reread(folder, CONTEXT)
    assert torch.equal(reread(texts), tiny.tokenize(texts))
    assert read(folder / "tokenizer_config.json")["model_max_length"] == CONTEXT


def test_the_same_model_gives_the_same_bytes(tmp_path):
    one, two = (written(tiny_clips.make(), tmp_path / name) for name in "ab")
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


REFUSED = {
    "vision_cfg.no_ln_pre": {"vision": {"no_ln_pre": True}},
    "vision_cfg.pool_type: avg": {"vision": {"pool_type": "avg"}},
    "vision_cfg.attentional_pool": {"vision": {"attentional_pool": True}},
    "vision_cfg.image_size: 32 x 16": {"vision": {"image_size": (32, 16)}},
    "vision_cfg.patch_size: 8 x 4": {"vision": {"patch_size": (8, 4)}},
    "vision_cfg: blocks other": {"vision": {"qk_norm": True}},
    "vision_cfg: the image encoder ModifiedResNet": {
        "vision": {"layers": (1, 1, 1, 1), "width": 64}
    },
    "no place for 8 of the model's weights (visual.transformer.resblocks.0.ls_1.gamma": {
        "vision": {"ls_init_value": 0.1, "layers": 4}
    },
    "text_cfg.pool_type: last": {"text": {"pool_type": "last"}},
    "text_cfg.pool_type: eos": {"text": {"pool_type": "eos", "eos_id": 2}},
    "text_cfg.embed_cls": {"text": {"embed_cls": True}, "custom_text": True},
    "text_cfg.no_causal_mask": {"text": {"no_causal_mask": True}},
    "text_cfg.proj_type": {"text": {"proj_type": "none", "width": 24}},
    "no place for 2 of the model's weights (text_projection.weight, text_projection.bias)": {
        "text": {"proj_bias": True}
    },
    "no place for 1 of the model's weights (logit_bias)": {"init_logit_bias": 0.0},
    "preprocess_cfg.resize_mode: longest": {"preprocess": {"resize_mode": "longest"}},
    "text_cfg.tokenizer_kwargs": {"tokenizer": {"clean": "canonicalize"}},
    "tokenizer of 12 tokens for a text encoder of 20": {"tokenizer": {"context_length": 12}},
}


@pytest.mark.parametrize(("message", "changes"), REFUSED.items(), ids=REFUSED)
def test_what_clip_model_cannot_be_is_refused_in_one_line(tmp_path, message, changes):
    with pytest.raises(UserError) as error:
        written(tiny_clips.make(**changes), tmp_path / "tiny")
    assert message in str(error.value)
    assert "use --format open_clip" in str(error.value)
    assert "\n" not in str(error.value)


def test_mixed_epsilons_and_activations_are_refused():
    tiny = tiny_clips.make()
    tiny.model.visual.ln_post.eps = 1e-6
    with pytest.raises(UserError, match=r"vision_cfg\.norm_kwargs: layer norms of several kinds"):
        model_config(tiny)
    tiny = tiny_clips.make()
    tiny.model.transformer.resblocks[0].mlp.gelu = torch.nn.ReLU()
    with pytest.raises(UserError, match=r"text_cfg\.act_kwargs: the activation ReLU"):
        model_config(tiny)


def test_a_missing_weight_is_refused():
    state = tiny_clips.make().model.state_dict()
    del state["ln_final.bias"]
    with pytest.raises(UserError, match=r"1 weights that the model has not \(ln_final\.bias\)"):
        transformers_layout.to_transformers(state)


def test_queries_written_as_keys_are_seen_in_the_features(tmp_path, monkeypatch):
    tiny = tiny_clips.make()
    images_and_texts = probe.make(32)
    monkeypatch.setattr(layouts, "STACKED", "kqv")
    folder = written(tiny, tmp_path / "tiny")
    with torch.no_grad():
        by_hand = probe.Reloaded(features_by_hand(folder, tiny, images_and_texts), "hand")
    with pytest.raises(UserError, match="read again by hand, features of 4 images and 6 texts"):
        probe.check_equal(by_hand, probe.features(tiny, images_and_texts))


def test_one_changed_bias_and_nan_do_not_pass_the_proof():
    tiny = tiny_clips.make()
    images_and_texts = probe.make(32)
    reference = probe.features(tiny, images_and_texts)
    with torch.no_grad():
        tiny.model.visual.transformer.resblocks[1].mlp.c_proj.bias[3] += 0.01
    changed = probe.Reloaded(probe.features(tiny, images_and_texts), "open_clip")
    with pytest.raises(UserError, match="features of 4 images and 6 texts differ"):
        probe.check_equal(changed, reference)
    broken = probe.Reloaded({"text": reference["text"] * torch.nan}, "open_clip")
    with pytest.raises(UserError, match="differ from the model's by nan"):
        probe.check_equal(broken, reference)

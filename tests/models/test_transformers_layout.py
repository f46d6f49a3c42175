"""The layout of the transformers library: folders, single files, config and preprocessing."""

import json
import re
from pathlib import Path

import pytest
import torch

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.model_sources import local
from tests.conftest import SIZE
from tests.support.clip_layouts import (
    into_clip,
    prefixed,
    transformers_config,
    transformers_state,
    write_transformers,
)

FORMS = ("safetensors", "bin", "sharded safetensors", "sharded bin")


@pytest.fixture
def original(clip_folder) -> dict[str, torch.Tensor]:
    """Weights of the CLIP, biases and gains too, all different."""
    weights = clip.load(clip_folder).model.state_dict()
    torch.manual_seed(1)
    return {key: value + 0.1 * torch.randn_like(value) for key, value in weights.items()}


def build(folder: Path):
    return local.build(local.Params(path=str(folder)))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        build(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def features(model) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[49406, 320, 1125, 49407] + [0] * 12])
    with torch.no_grad():
        return model.eval().encode_image(images), model.encode_text(tokens)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_a_folder_loads_with_the_originals_weights_and_features_to_the_bit(
    original, clip_folder, tmp_path, form, activation
):
    theirs, config = transformers_state(original), transformers_config(activation)
    built = build(write_transformers(tmp_path / "theirs", theirs, config, form))
    loaded = built.model.state_dict()
    assert loaded.keys() == original.keys()
    assert all(torch.equal(loaded[key], original[key]) for key in original)
    folder = clip.load(clip_folder)
    folder.config["model_cfg"]["quick_gelu"] = activation == "quick_gelu"
    folder.model.load_state_dict(original)
    clip.save(folder.model, folder.config, tmp_path / "ours")
    ours = clip.load(tmp_path / "ours").model
    for one, other in zip(features(built.model), features(ours), strict=True):
        assert torch.equal(one, other)
    assert built.config["model_cfg"]["quick_gelu"] is (activation == "quick_gelu")
    clip.save(built.model, built.config, tmp_path / "again")
    again = clip.load(tmp_path / "again").model
    assert torch.equal(features(again)[0], features(ours)[0])


def test_the_two_activations_give_other_features(original, tmp_path):
    theirs = transformers_state(original)
    one, other = (
        build(write_transformers(tmp_path / act, theirs, transformers_config(act)))
        for act in ("gelu", "quick_gelu")
    )
    assert (features(one.model)[0] - features(other.model)[0]).abs().max() > 1e-3


def test_old_files_have_numbered_positions_beside_their_weights(original, tmp_path):
    theirs = transformers_state(original) | {
        "text_model.embeddings.position_ids": torch.arange(16)[None],
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
    }
    built = build(write_transformers(tmp_path / "theirs", theirs, transformers_config("gelu")))
    assert torch.equal(built.model.state_dict()["visual.proj"], original["visual.proj"])


@pytest.mark.parametrize("prefix", ["", "module.", "clip_model.", "model.module."])
def test_a_single_file_goes_into_the_clip_around_it(original, clip_folder, tmp_path, prefix):
    theirs = prefixed(prefix, transformers_state(original))
    torch.save({"epoch": 3, "state_dict": theirs}, tmp_path / "robust.pt")
    built = into_clip(tmp_path / "robust.pt", clip_folder)
    loaded = built.model.state_dict()
    assert all(torch.equal(loaded[key], original[key]) for key in original)
    assert "text half differs" in built.notes[0]


@pytest.mark.parametrize("prefix", ["", "vision_tower."])
def test_an_image_encoder_alone_goes_into_the_clip_around_it(
    original, clip_folder, tmp_path, prefix
):
    theirs = transformers_state(original)
    image = {k: v for k, v in theirs.items() if k.startswith(("vision_model.", "visual_proj"))}
    config = {"model_type": "clip_vision_model"} | transformers_config("gelu")["vision_config"]
    folder = write_transformers(tmp_path / "theirs", prefixed(prefix, image), config)
    built, base = into_clip(folder, clip_folder), clip.load(clip_folder).model.state_dict()
    for key, value in built.model.state_dict().items():
        expected = original if key.startswith("visual.") else base
        assert torch.equal(value, expected[key]), key
    assert "is an image encoder without a text tower; use source: checkpoint" in refused(folder)
    image.pop("visual_projection.weight")
    torch.save(image, tmp_path / "robust.pt")
    with pytest.raises(UserError, match=r"1 missing \(visual_projection.weight\)"):
        into_clip(tmp_path / "robust.pt", clip_folder)


@pytest.mark.parametrize("name", ["", "pytorch_model.bin.index.json"])
def test_several_files_or_their_index_go_into_the_clip_around_them(
    original, clip_folder, tmp_path, name
):
    theirs, config = transformers_state(original), transformers_config("gelu")
    folder = write_transformers(tmp_path / "theirs", theirs, config, "sharded bin")
    loaded = into_clip(folder / name, clip_folder).model.state_dict()
    assert all(torch.equal(loaded[key], original[key]) for key in original)


def test_a_broken_index_is_one_line(original, tmp_path):
    theirs, config = transformers_state(original), transformers_config("gelu")
    folder = write_transformers(tmp_path / "theirs", theirs, config, "sharded bin")
    index = folder / "pytorch_model.bin.index.json"
    torch.save([1], folder / "pytorch_model-00001-of-00002.bin")
    assert "00001-of-00002.bin: holds no state dict, but list" in refused(folder)
    torch.save({}, folder / "pytorch_model-00001-of-00002.bin")
    assert f"{index}: its files lack 9 weights, e.g. " in refused(folder)
    for content in ("{", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}'):
        index.write_text(content)
        assert f"{index}: not an index of weights: " in refused(folder)


def test_preprocessing_and_defaults_are_the_librarys(original, tmp_path):
    config = transformers_config("quick_gelu")
    for section in ("text_config", "vision_config"):
        del config[section]["hidden_act"]
    folder = write_transformers(tmp_path / "theirs", transformers_state(original), config)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_mean": [0.5, 0.4, 0.3],
                "image_std": [0.2, 0.2, 0.1],
                "resample": 2,
                "size": {"shortest_edge": SIZE},
                "do_center_crop": True,
                "crop_size": {"height": SIZE, "width": SIZE},
            }
        )
    )
    built = build(folder)
    assert built.config["model_cfg"]["quick_gelu"] is True
    assert built.config["preprocess_cfg"] == {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.1],
        "interpolation": "bilinear",
        "resize_mode": "shortest",
        "size": [SIZE, SIZE],
    }


def test_an_epsilon_of_its_own_is_kept(original, tmp_path):
    config = transformers_config("gelu")
    config["vision_config"]["layer_norm_eps"] = 1e-3
    folder = write_transformers(tmp_path / "theirs", transformers_state(original), config)
    assert build(folder).model.visual.ln_post.eps == 1e-3


@pytest.mark.parametrize(
    ("section", "change", "reason"),
    [
        ("vision_config", {"hidden_act": "gelu_new"}, "two activations (hidden_act gelu_new and"),
        ("text_config", {"vocab_size": 32000}, "its tokenizer has 32000 tokens, only CLIP's own"),
        ("text_config", {"eos_token_id": 7}, "its texts end with token 7, CLIP's with 49407"),
        (None, {"model_type": "siglip"}, "it is a model of type 'siglip' of transformers"),
        (None, {"model_type": "chinese_clip"}, "it is a model of type 'chinese_clip'"),
    ],
)
def test_models_of_other_kinds_are_named(original, tmp_path, section, change, reason):
    config = transformers_config("gelu")
    (config[section] if section else config).update(change)
    folder = write_transformers(tmp_path / "theirs", transformers_state(original), config)
    message = refused(folder)
    assert f"{folder} cannot be used: " in message
    assert reason in message
    assert "download it once" not in message


def test_folders_of_other_libraries_are_named(original, tmp_path):
    config = {"architecture": "vit_base_patch32_clip_224", "num_classes": 512}
    folder = write_transformers(tmp_path / "theirs", transformers_state(original), config)
    assert "its config.json is of timm, not of a CLIP of transformers" in refused(folder)
    for name, kind in {"adapter_config.json": "peft", "model_index.json": "diffusers"}.items():
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_text("{}")
        assert f"{tmp_path / kind}: is a" in refused(tmp_path / kind)
        assert kind in refused(tmp_path / kind)


def test_config_and_weights_that_contradict_each_other_are_one_line(original, tmp_path):
    theirs, config = transformers_state(original), transformers_config("gelu")
    config["vision_config"]["image_size"] = 24
    folder = write_transformers(tmp_path / "theirs", theirs, config)
    assert re.search("has 17 positional embeddings, its config 37: image_size", refused(folder))
    config["vision_config"] |= {"image_size": SIZE, "num_hidden_layers": 3}
    write_transformers(folder, theirs, config)
    assert "16 missing (vision_model.encoder.layers.2.layer_norm1.weight, " in refused(folder)
    config["vision_config"]["num_attention_heads"] = 5
    write_transformers(folder, theirs, config)
    assert "open_clip cannot build its config: " in refused(folder)
    (folder / "config.json").write_text("{")
    assert f"{folder / 'config.json'}: not readable as JSON" in refused(folder)


def test_a_shard_that_lacks_is_named(original, tmp_path):
    folder = write_transformers(
        tmp_path / "theirs", transformers_state(original), transformers_config("gelu"),
        "sharded safetensors",
    )  # fmt: skip
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors, which it names, is not there" in refused(folder)
    for file in folder.glob("model*"):
        file.unlink()
    assert f"{folder}: holds no weights: none of model.safetensors, " in refused(folder)

"""Files of other projects around a CLIP: several sets of weights, other grids, other kinds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.model_sources import local
from tests.support.clip_layouts import into_clip, prefixed


def refused(file: Path, clip_folder: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        into_clip(file, clip_folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "robust.pt"


@pytest.fixture
def whole(clip_folder) -> dict[str, torch.Tensor]:
    return clip.load(clip_folder).model.state_dict()


@pytest.fixture
def visual(whole) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    image = {k.removeprefix("visual."): v for k, v in whole.items() if k.startswith("visual.")}
    return {key: torch.randn_like(value) for key, value in image.items()}


@pytest.mark.parametrize(
    "key",
    ["state_dict", "state_dict_ema", "model_state_dict", "model_ema", "module", "model", "teacher",
     "vision_encoder_state_dict", "net.ema"],
)  # fmt: skip
def test_every_wrapper(visual, clip_folder, file, key):
    content = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}
    inner = content
    for part in key.split("."):
        inner[part] = {}
        inner, last = inner[part], inner
    last[part] = visual
    torch.save(content, file)
    assert torch.equal(into_clip(file, clip_folder).model.visual.proj, visual["proj"])


def test_several_that_differ_are_a_choice(visual, whole, clip_folder, file):
    average = {key: value + 1 for key, value in visual.items()}
    torch.save({"model": prefixed("module.", visual), "state_dict_ema": average}, file)
    assert refused(file, clip_folder).endswith(
        "robust.pt: holds several sets of weights that fit and differ: model, state_dict_ema; "
        "choose one with key:"
    )
    built = into_clip(file, clip_folder, key="state_dict_ema")
    assert torch.equal(built.model.visual.proj, average["proj"])
    assert built.notes == ["weights under state_dict_ema, as key: says"]
    assert refused(file, clip_folder, key="ema").endswith(
        "has no weights under 'ema', which key: names; it has model, state_dict_ema"
    )
    torch.save({"model": visual, "copy": dict(visual)}, file)
    assert torch.equal(into_clip(file, clip_folder).model.visual.proj, visual["proj"])


def test_the_whole_clip_is_taken_before_its_own_image_half(visual, whole, clip_folder, file):
    state = {k: v + 1 for k, v in whole.items()} | prefixed("visual.", visual)
    torch.save({"vision_encoder_state_dict": visual, "state_dict": state}, file)
    built = into_clip(file, clip_folder)
    assert torch.equal(built.model.token_embedding.weight, state["token_embedding.weight"])


def test_two_models_in_one_flat_dictionary_are_a_choice(visual, clip_folder, file):
    teacher = {key: value + 1 for key, value in visual.items()}
    torch.save(prefixed("student.", visual) | prefixed("teacher.", teacher), file)
    message = refused(file, clip_folder)
    assert "holds the weights of 2 models (student, teacher); choose one with key:" in message
    built = into_clip(file, clip_folder, key="teacher")
    assert torch.equal(built.model.visual.proj, teacher["proj"])


def test_a_whole_clip_beside_other_weights_is_one_model(whole, clip_folder, file):
    torch.save(prefixed("clip.", whole) | {"extra.weight": torch.zeros(2)}, file)
    message = refused(file, clip_folder)
    assert f"{len(whole)} keys begin with 'clip.', 1 do not (extra.weight); expected the" in message
    assert into_clip(file, clip_folder, key="clip").notes[0] == "weights under clip, as key: says"


def test_positions_of_another_grid_are_interpolated_only_when_asked(visual, clip_folder, file):
    width = visual["positional_embedding"].shape[1]
    visual["positional_embedding"] = torch.randn(1 + 36, width)
    torch.save(visual, file)
    assert refused(file, clip_folder).endswith(
        f"its positional embeddings are for a grid of 6 x 6 patches, local-dir:{clip_folder} has "
        "4 x 4; set resize_positions: true to interpolate them, or name a CLIP of its image size "
        "in model:"
    )
    built = into_clip(file, clip_folder, resize_positions=True)
    positions = built.model.visual.positional_embedding.detach()
    theirs = visual["positional_embedding"]
    assert torch.equal(positions[0], theirs[0])
    grid = torch.nn.functional.interpolate(
        theirs[1:].T.reshape(1, width, 6, 6), size=(4, 4), mode="bicubic", antialias=True
    )
    assert torch.allclose(positions[1:], grid.reshape(width, 16).T, atol=1e-6)
    assert built.notes == [
        "positional embeddings interpolated (bicubic): they were for a grid of 6 x 6 patches, "
        f"local-dir:{clip_folder} has 4 x 4"
    ]
    visual["positional_embedding"] = torch.randn(12, width)
    torch.save(visual, file)
    assert "12 positional embeddings are no class token and a square" in refused(file, clip_folder)


def test_the_same_grid_is_left_alone_where_resizing_is_allowed(visual, clip_folder, file):
    torch.save(visual, file)
    built = into_clip(file, clip_folder, resize_positions=True)
    assert built.notes == []
    assert torch.equal(built.model.visual.positional_embedding, visual["positional_embedding"])


KINDS = {
    "a CLIP whose image encoder is a timm model": ["visual.trunk.blocks.0.attn.qkv.weight",
                                                   "visual.trunk.patch_embed.proj.weight"],
    "SigLIP": ["visual.trunk.attn_pool.latent", "visual.trunk.pos_embed"],
    "SigLIP, whose": ["vision_model.head.probe", "vision_model.embeddings.patch_embedding.bias"],
    "EVA-CLIP": ["visual.blocks.0.attn.inner_attn_ln.weight", "visual.rope.freqs_cos"],
    "a ResNet": ["visual.layer1.0.conv1.weight", "visual.attnpool.positional_embedding"],
    "a CLIP with a text tower and tokenizer of the Hugging Face hub": [
        "text.transformer.embeddings.word_embeddings.weight", "visual.class_embedding"],
    "a LoRA adapter": ["base_model.model.visual.proj.lora_A.weight",
                       "base_model.model.visual.proj.lora_B.weight"],
    "a diffusion model": ["down_blocks.0.attentions.0.proj_in.weight", "up_blocks.0.x.weight"],
    "a timm vision transformer": ["blocks.0.attn.qkv.weight", "cls_token", "head.weight"],
    "a classifier": ["layers.0.weight", "fc.weight", "fc.bias"],
    "learned prompts": ["prompt_learner.ctx", "prompt_learner.token_prefix"],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_are_not_supported_are_named(clip_folder, file, kind):
    torch.save({"state_dict": {key: torch.zeros(2, 2) for key in KINDS[kind]}}, file)
    message = refused(file, clip_folder)
    assert f"robust.pt: is {kind}" in message
    assert "missing" not in message


def test_the_state_of_an_optimiser_is_named(clip_folder, file):
    layer = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    torch.save(optimiser.state_dict(), file)
    assert "robust.pt: is the state of an optimiser alone, without weights" in refused(
        file, clip_folder
    )


def test_keys_that_nobody_knows_are_shown(clip_folder, file):
    torch.save({"alpha": torch.zeros(1), "beta": torch.zeros(1)}, file)
    assert "its keys (alpha, beta) are not those of a CLIP" in refused(file, clip_folder)


def test_a_pointer_of_git_lfs(clip_folder, file):
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    assert "robust.pt: a pointer of Git LFS, not the weights; run `git lfs" in refused(
        file, clip_folder
    )


@pytest.mark.parametrize("name", ["robust.SAFETENSORS", "robust.bin"])
def test_safetensors_under_another_name(visual, clip_folder, tmp_path, name):
    save_file(visual, tmp_path / name)
    assert torch.equal(into_clip(tmp_path / name, clip_folder).model.visual.proj, visual["proj"])


@pytest.mark.parametrize("kind", ["bool", "int8", "int32", "uint8", "float16", "float64"])
def test_numbers_of_numpy_beside_the_weights(visual, clip_folder, file, kind):
    torch.save({"state_dict": visual, "best": np.dtype(kind).type(1)}, file)
    assert torch.equal(into_clip(file, clip_folder).model.visual.proj, visual["proj"])


def test_a_folder_of_open_clip_with_the_older_file(whole, clip_folder, tmp_path):
    folder = tmp_path / "older"
    folder.mkdir()
    (folder / clip.CONFIG_FILE).write_text((clip_folder / clip.CONFIG_FILE).read_text())
    torch.save(whole, folder / "open_clip_pytorch_model.bin")
    for path in (folder, folder / "open_clip_pytorch_model.bin"):
        built = local.build(local.Params(path=str(path)))
        assert all(torch.equal(v, whole[k]) for k, v in built.model.state_dict().items())


def test_a_folder_whose_config_has_another_grid_is_not_interpolated(clip_folder, tmp_path):
    folder = tmp_path / "changed"
    folder.mkdir()
    (folder / clip.WEIGHTS_FILE).write_bytes((clip_folder / clip.WEIGHTS_FILE).read_bytes())
    config = json.loads((clip_folder / clip.CONFIG_FILE).read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = 32
    (folder / clip.CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(UserError, match="has 17 positional embeddings, its config 65"):
        local.build(local.Params(path=str(folder)))


def test_a_folder_with_an_image_encoder_alone_says_what_to_do(visual, clip_folder, tmp_path):
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / clip.CONFIG_FILE).write_text((clip_folder / clip.CONFIG_FILE).read_text())
    save_file(visual, folder / clip.WEIGHTS_FILE)
    with pytest.raises(UserError, match="holds an image encoder alone; use source: checkpoint"):
        local.build(local.Params(path=str(folder)))

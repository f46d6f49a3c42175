"""A config whose activation is not the one that its weights were trained with, told by features."""

import json
import re
from pathlib import Path

import pytest
import torch
from open_clip.model import CLIP
from open_clip.transformer import QuickGELU

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.model_sources import checkpoint, local, pretrained
from pipeline.models import activation
from tests.conftest import MODEL_CFG, SIZE


def save(model, quick_gelu: bool, folder: Path) -> str:
    """An open_clip folder with these weights and this activation in its config."""
    config = {
        "model_cfg": MODEL_CFG | {"quick_gelu": quick_gelu},
        "preprocess_cfg": clip.preprocess_config(size=SIZE),
    }
    clip.save(model, config, folder)
    return f"local-dir:{folder}"


def base_model() -> CLIP:
    """A CLIP with QuickGELU that most of its hidden units are off in, as in trained ones; there
    the two activations differ most."""
    torch.manual_seed(0)
    model = CLIP(**MODEL_CFG, quick_gelu=True)
    torch.nn.init.normal_(model.visual.conv1.weight, std=0.5)
    for tower in (model.visual.transformer, model.transformer):
        for block in tower.resblocks:
            torch.nn.init.constant_(block.mlp.c_fc.bias, -2.0)
            torch.nn.init.normal_(block.mlp.c_proj.weight, std=1.0)
    return model.eval()


def fine_tuned(base: CLIP, quick_gelu: bool, steps: int = 60) -> CLIP:
    """The image encoder trained under this activation to keep `base`'s features under noise,
    as FARE does under attack, from `base`'s weights; the text tower frozen."""
    torch.manual_seed(1)
    model = CLIP(**MODEL_CFG, quick_gelu=quick_gelu)
    model.load_state_dict(base.state_dict())
    optimiser = torch.optim.AdamW(model.visual.parameters(), lr=1e-3)
    for _ in range(steps):
        images = torch.randn(32, 3, SIZE, SIZE)
        noisy = images + 0.1 * torch.randn_like(images)
        with torch.no_grad():
            target = base.encode_image(images)
        loss = (model.encode_image(noisy) - target).square().sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def models() -> dict[str, CLIP]:
    base = base_model()
    return {"base": base, "quick": fine_tuned(base, True), "usual": fine_tuned(base, False)}


def from_checkpoint(models, name: str, tmp_path: Path) -> list[str]:
    outer = save(models["base"], True, tmp_path / "base")
    torch.save(models[name].visual.state_dict(), tmp_path / "robust.pt")
    values = {"file": str(tmp_path / "robust.pt"), "model": outer, "tag": None, "cache_dir": None}
    return checkpoint.build(checkpoint.Params(**values)).notes


def test_a_checkpoint_trained_under_the_other_activation_is_said_with_the_numbers(models, tmp_path):
    [note] = from_checkpoint(models, "usual", tmp_path)
    numbers = re.fullmatch(
        r"its image tower looks trained with GELU, the config has QuickGELU: on 8 fixed inputs its "
        r"features are at a mean cosine distance of (\S+) from those of local-dir:\S+ under GELU, "
        r"of (\S+) under QuickGELU",
        note,
    )
    assert numbers
    near, far = map(float, numbers.groups())
    assert 0 < near < 0.1 * far


def test_a_checkpoint_trained_under_the_right_activation_says_nothing(models, tmp_path):
    assert from_checkpoint(models, "quick", tmp_path) == []


@pytest.mark.parametrize(("trained", "configured"), [("quick", False), ("usual", True)])
def test_a_config_that_lost_its_activation_is_found_beside_the_origin(
    models, tmp_path, trained, configured
):
    """As a repository whose config leaves quick_gelu out; text towers are those of the origin."""
    origin = save(models["base"], True, tmp_path / "origin")
    save(models[trained], configured, tmp_path / "theirs")
    if not configured:
        path = tmp_path / "theirs" / clip.CONFIG_FILE
        config = json.loads(path.read_text())
        del config["model_cfg"]["quick_gelu"]
        path.write_text(json.dumps(config))
    params = local.Params(path=str(tmp_path / "theirs"), origin=origin)
    notes = local.build(params).notes
    right, wrong = ("GELU", "QuickGELU") if configured else ("QuickGELU", "GELU")
    # the text tower is the origin's own, of QuickGELU, whatever the image tower was trained with
    towers = ["image"] if configured else ["image", "text"]
    assert [note.split(": on 8 fixed")[0] for note in notes] == [
        f"its {tower} tower looks trained with {right}, the config has {wrong}" for tower in towers
    ]
    silent = local.Params(path=str(tmp_path / "theirs"))
    assert local.build(silent).notes == []


def test_a_right_config_beside_its_origin_says_nothing(models, tmp_path):
    origin = save(models["base"], True, tmp_path / "origin")
    save(models["quick"], True, tmp_path / "theirs")
    params = local.Params(path=str(tmp_path / "theirs"), origin=origin)
    assert local.build(params).notes == []


def test_unrelated_weights_are_not_judged(models, tmp_path):
    origin = save(models["base"], True, tmp_path / "origin")
    torch.manual_seed(5)
    save(CLIP(**MODEL_CFG), False, tmp_path / "theirs")
    params = local.Params(path=str(tmp_path / "theirs"), origin=origin)
    assert local.build(params).notes == []


def test_an_origin_of_other_sizes_is_said(models, tmp_path):
    save(models["quick"], True, tmp_path / "theirs")
    sizes = MODEL_CFG | {"vision_cfg": MODEL_CFG["vision_cfg"] | {"image_size": 2 * SIZE}}
    config = {"model_cfg": sizes, "preprocess_cfg": clip.preprocess_config(size=2 * SIZE)}
    clip.save(CLIP(**sizes), config, tmp_path / "origin")
    origin = f"local-dir:{tmp_path / 'origin'}"
    params = local.Params(path=str(tmp_path / "theirs"), origin=origin)
    [note] = local.build(params).notes
    assert note == f"its activation was not looked at: {origin} has other sizes"


def test_the_model_is_left_as_it_was(models):
    model = models["base"]
    before = {name: type(module) for name, module in model.named_modules()}
    with activation.activation(model, quick=False):
        assert activation.is_quick(model) is False
    assert activation.is_quick(model) is True
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert QuickGELU in before.values()


def test_an_origin_is_named_as_a_model_is(models, tmp_path):
    params = pretrained.Params(model="ViT-B-32", tag="openai", cache_dir=None, origin="ViT-Z/magic")
    assert params.origin == "ViT-Z/magic"
    save(models["quick"], True, tmp_path / "theirs")
    with pytest.raises(UserError, match="open_clip has no model 'ViT-Z'"):
        local.build(local.Params(path=str(tmp_path / "theirs"), origin="ViT-Z/magic"))
